"""How it is set: `paios.toml`, `llm-config.json`, `auth-profiles.json`, validated, written whole, backed up.

Never decides anything and never talks to a network. Rooms get values from here through `app.py`, never this room's files.
Read `settings.py` first.
"""
