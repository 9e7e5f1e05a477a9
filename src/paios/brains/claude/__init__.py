"""Claude Code as a brain: the user's own program, driven through the Agent SDK. Read `brain.py` first."""
