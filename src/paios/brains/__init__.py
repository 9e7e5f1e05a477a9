"""Who thinks: one file or folder a vendor, all behind the `Brain` protocol; a vendor's SDK is imported there only.

Never decides who should do a task, and never whether an action may happen: it asks the gate it is given.
Read `brain.py` first.
"""
