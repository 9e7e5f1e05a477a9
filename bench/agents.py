"""`ai` on Claude and Codex against the vendors' own commands, on a scripted model server: what we add, honestly."""

from __future__ import annotations

import json
from datetime import datetime
from functools import partial
from pathlib import Path

from bench.lab import Case, Lab, Sample, Table, Topic, ai, median, ms

ROUNDS = 5
WORD = "Answer"
ANSWER = f"{WORD} of a model that takes its time: " + "word " * 40
DELAY_S, PIECE_S = 0.3, 0.02  # before the first piece, and after each
TURNS = 6


def measure(lab: Lab) -> Topic:
    lab.server.scene("bench").always(ANSWER, delay_s=DELAY_S, chunk_delay_s=PIECE_S)
    rows = {"claude": _claude(), "codex": _codex()}
    tables = [_table(lab, brain, cases) for brain, cases in rows.items()]
    method = (
        f"Medians of {ROUNDS} runs, in turns, against a model that begins after {ms(DELAY_S)} and then says a piece every "
        f"{ms(PIECE_S)}, about {ms(len(ANSWER) / 12 * PIECE_S)} in all. First token: when the first word of the answer is on "
        "standard output. CPU: of the command and everything it started and waited for. The goal, a first token in half the "
        "time of the vendor's command, is for a warm brain; the row of later turns is as warm as this release gets."
    )
    return Topic("`ai` and the vendors' own commands", method, tables)


def _claude() -> list[Case]:
    options = ["--output-format", "stream-json", "--verbose", "--include-partial-messages"]
    return [
        Case("claude -p", ["claude", "-p", "ping"], first=_says),
        Case("claude -p, streaming JSON", ["claude", "-p", *options, "ping"], first=_says),
        Case("ai --brain claude", ai("--brain", "claude", "ping"), first=_says),
    ]


def _codex() -> list[Case]:
    return [
        Case("codex exec", ["codex", "exec", "--skip-git-repo-check", "ping"], first=_says),
        Case("codex exec --json", ["codex", "exec", "--json", "--skip-git-repo-check", "ping"], first=_says),
        Case("ai --brain codex", ai("--brain", "codex", "ping"), first=_says),
    ]


def _says(line: bytes) -> bool:
    return WORD.encode() in line


def _table(lab: Lab, brain: str, cases: list[Case]) -> Table:
    env = lab.home(brain)
    found = [
        Case(c.name, [str(Path(lab.env["PATH"].split(":")[0], c.command[0])), *c.command[1:]], c.given, c.first, env)
        if "/" not in c.command[0]
        else Case(c.name, c.command, c.given, c.first, env)
        for c in cases
    ]
    taken = lab.side_by_side(found, ROUNDS)
    base = median([s.first_s or 0 for s in taken[cases[0].name]])
    rows = [_row(name, samples, base) for name, samples in taken.items()]
    rows.append(_later(lab, brain, env, base))
    return Table(brain.capitalize(), ("what", "first token", f"to {cases[0].name}", "total", "CPU"), rows)


def _row(name: str, samples: list[Sample], base: float) -> tuple[str, ...]:
    first = median([s.first_s or 0 for s in samples])
    total, cpu = median([s.wall_s for s in samples]), median([s.cpu_s for s in samples])
    return name, ms(first), f"{first / base:.2f} ×", ms(total), ms(cpu)


def _later(lab: Lab, brain: str, env: dict[str, str], base: float) -> tuple[str, ...]:
    """Turns after the first in one `ai --stream-json`, timed by its own events."""
    line = (json.dumps({"type": "user", "text": "ping"}) + "\n").encode()
    talk = ai("--stream-json", "--brain", brain)
    one, many = (lab.run(Case(f"{brain}, {n} turns", talk, line * n, env=env)) for n in (1, TURNS))
    began, first, ended = (partial(_times, many.output, kind) for kind in (["accepted"], ["said"], ["answered"]))
    firsts = _gaps(began(), first())
    totals = _gaps(began(), ended())
    name = f"a later turn in `ai --stream-json` ({TURNS - 1} of them)"
    middle = median(firsts[1:])
    cpu = ms((many.cpu_s - one.cpu_s) / (TURNS - 1))
    return name, ms(middle), f"{middle / base:.2f} ×", ms(median(totals[1:])), cpu


def _times(output: bytes, kinds: list[str]) -> dict[str, float]:
    """Trace → seconds of the first event of one of *kinds*, by the events' own clock."""
    found: dict[str, float] = {}
    for record in map(json.loads, output.splitlines()):
        if record["type"] in kinds:
            found.setdefault(record["trace"], datetime.fromisoformat(record["at"]).timestamp())
    return found


def _gaps(begins: dict[str, float], ends: dict[str, float]) -> list[float]:
    return [ends[trace] - begin for trace, begin in begins.items()]
