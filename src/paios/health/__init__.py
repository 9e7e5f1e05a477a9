"""How it stays well: checks that name a problem and its remedy.

Never mends anything without being asked. Read `check.py` first.
"""
