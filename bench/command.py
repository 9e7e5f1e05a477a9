"""The command without a model: what `ai` costs over a bare Python, and a request on the echo brain."""

from __future__ import annotations

import json
import sys

from bench.lab import Case, Lab, Table, Topic, ai, compared, median, ms

ROUNDS = 9
TURNS = 100


def measure(lab: Lab) -> Topic:
    env = lab.home("command")
    lab.run(Case("first start", ai("--brain", "echo", "hello"), env=env))
    taken = lab.side_by_side(
        [
            Case("python -c pass", [sys.executable, "-c", "pass"], env=env),
            Case("ai --help", ai("--help"), env=env),
            Case("ai --version", ai("--version"), env=env),
            Case("ai history", ai("history"), env=env),
            Case("ai --brain echo", ai("--brain", "echo", "one two three four"), env=env),
        ],
        ROUNDS,
    )
    return Topic(
        "The command",
        "One process each, its exit included. Goal: `ai --help` at most 60 ms of CPU.",
        [compared(f"Median of {ROUNDS} runs", taken, "python -c pass"), _within(lab)],
    )


def _within(lab: Lab) -> Table:
    """What a request costs in a process that is already there."""
    env = lab.home("turns")
    talk = ai("--stream-json", "--brain", "echo")
    line = (json.dumps({"type": "user", "text": "one two three four"}) + "\n").encode()
    taken = lab.side_by_side(
        [Case("1 turn", talk, line, env=env), Case(f"{TURNS + 1} turns", talk, line * (TURNS + 1), env=env)], 3
    )
    one, many = ((median([s.cpu_s for s in samples]), median([s.wall_s for s in samples])) for samples in taken.values())
    rows = [("a request", ms((many[0] - one[0]) / TURNS), ms((many[1] - one[1]) / TURNS))]
    note = (
        f"The difference between {TURNS + 1} turns and one, by {TURNS}. A request on the echo brain is about ten events, "
        "each stored durably but for the deltas, and printed."
    )
    return Table("Within one `ai --stream-json`", ("what", "CPU", "wall"), rows, note)
