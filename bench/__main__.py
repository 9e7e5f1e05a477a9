"""`python -m bench [NAME …]`: see the package."""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import paios
from bench import agents, command, decision, imports, store
from bench.lab import Lab, Table, Topic
from paios.base.db import library
from paios.testing import homes
from paios.testing.modelserver import ModelServer

TOPICS: dict[str, Callable[[Lab], Topic]] = {
    "command": command.measure,
    "imports": imports.measure,
    "decision": decision.measure,
    "store": store.measure,
    "agents": agents.measure,
}
PAGE = Path(__file__).parents[1] / "docs" / "reference" / "performance.md"
INTRODUCTION = """\
# Performance

Measured by `bench/`; this page is written by it and not edited. To measure again:

```
make bench                      # everything, up to four minutes, and this page
.venv/bin/python -m bench NAME  # one of {names}; printed only
```

What is compared was run side by side, in turns, in one go; every command had one run before that does not count, and our
bytecode was compiled. CPU is user and system time of a process and all it waited for, in its own home, on loopback only.
CPU times and ratios can be compared between machines of a kind; wall times also show what else the machine did: its load
was {load} when this began and {load_after} at the end, on {cores} cores.

| | |
|---|---|
{facts}
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measures PAIOS; with names, only those topics.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TOPICS))
    names = parser.parse_args().names
    if unknown := set(names) - set(TOPICS):
        parser.error(f"there is no topic {unknown.pop()!r}; there are {', '.join(TOPICS)}")
    began, load = time.monotonic(), os.getloadavg()[0]
    topics = []
    with tempfile.TemporaryDirectory(prefix="paios-bench-") as root, ModelServer(always="pong", keep=False) as server:
        lab = Lab(Path(root), server)
        for name in names or TOPICS:
            topics.append(TOPICS[name](lab))
            print(_section(topics[-1]), flush=True)
        facts = _facts(lab)
    print(f"{time.monotonic() - began:.0f} s in all")
    if not names:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(_page(topics, facts, load), encoding="utf-8")
        print(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}")


def _page(topics: list[Topic], facts: dict[str, str], load: float) -> str:
    introduction = INTRODUCTION.format(
        names=", ".join(f"`{name}`" for name in TOPICS),
        load=f"{load:.1f}",
        load_after=f"{os.getloadavg()[0]:.1f}",
        cores=os.cpu_count(),
        facts="\n".join(f"| {name} | {value} |" for name, value in facts.items()),
    )
    return "\n".join([introduction, *map(_section, topics)])


def _section(topic: Topic) -> str:
    return "\n".join([f"## {topic.title}", "", topic.method, "", *map(_table, topic.tables)])


def _table(table: Table) -> str:
    rows = [table.head, tuple("---" if i == 0 else "---:" for i in range(len(table.head))), *table.rows]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([f"### {table.title}", "", *lines, "", *([table.note, ""] if table.note else [])])


def _facts(lab: Lab) -> dict[str, str]:
    package, version, _ = library()
    return {
        "Date": f"{datetime.now(UTC):%Y-%m-%d}",
        "PAIOS": paios.__version__,
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "SQLite": f"{version} ({package})",
        "Claude Code": _version(lab, homes.bundled_claude()),
        "Codex": _version(lab, homes.bundled_codex()),
        "System": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
    }


def _version(lab: Lab, program: Path | None) -> str:
    if program is None:
        return "not installed"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, env=lab.env, cwd=lab.cwd, timeout=60)
    found = re.search(r"\d+\.\d+\S*", done.stdout)
    return found[0] if found else "unknown"


if __name__ == "__main__":
    main()
