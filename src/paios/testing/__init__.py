"""The fakes we ship: a scripted model server, homes for real agents, a clock that is moved by hand, recorders.

Real sockets and real files, never a stand-in for a function. Nothing outside this room imports it.
Read `scene.py` first: it is the script a test writes.
"""
