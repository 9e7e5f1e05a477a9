"""The brain without a model: quotes from files, or says that it cannot. Read `brain.py` first."""
