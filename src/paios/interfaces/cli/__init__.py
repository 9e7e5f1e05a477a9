"""The command `ai`: a parser that costs nothing, and one lazily imported file a command. Read `main.py` first."""
