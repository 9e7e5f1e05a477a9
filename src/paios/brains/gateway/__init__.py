"""Any model API or local model server as a brain, with a few tools of our own. Read `brain.py` first."""
