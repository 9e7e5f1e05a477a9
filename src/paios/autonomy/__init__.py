"""What may be done: one gate that every action of every brain passes.

Never carries out an action and never decides who thinks. Read `gate.py` first.
"""
