"""Who should do it: from a person's words to brains in order of preference, with reasons.

Pure: no files, no network, no clock, no environment; never calls a brain. Read `decide.py` first.
"""
