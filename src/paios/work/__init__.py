"""What is done when asked: the path a request takes from a door to its end.

Never talks to a terminal, a socket or a vendor. Read `ask.py` first.
"""
