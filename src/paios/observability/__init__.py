"""What happened: the event log, traces and usage.

Never decides anything and never calls a brain. `events.append` is the only writer. Read `events.py` first.
"""
