"""The floor every room stands on: the words of the house, its errors, clock, database and processes.

Knows no room and no vendor. Read `types.py` first, then `events.py`.
"""
