"""What the house knows: for now, vectors of what a text means.

Never decides and never calls a brain. Read `embed.py` first.
"""
