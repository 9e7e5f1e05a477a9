"""How people and programs come in: the command line and its stream-json.

Never decides, never stores, never talks to a vendor: doors make a `Request` and show events. Read `cli/main.py` first.
"""
