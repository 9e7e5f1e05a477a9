"""Codex as a brain: one app-server, many threads, spoken to directly. Read `brain.py` first."""
