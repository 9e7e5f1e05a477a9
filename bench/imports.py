"""What the command imports, and what that costs."""

from __future__ import annotations

import re
import sys
from collections import defaultdict

from bench.lab import Case, Lab, Table, Topic, ms

HEAVY = (
    *("asyncio", "anyio", "click", "pydantic", "rich", "httpx", "psutil", "genai_prices"),
    *("claude_agent_sdk", "openai_codex", "pydantic_ai", "mcp"),
)
COMMANDS = (("ai --help", ["--help"]), ("ai history", ["history"]), ("ai --brain echo", ["--brain", "echo", "hi"]))
LOADED = """
import sys
from paios.interfaces.cli.main import run
code = run(sys.argv[1:])
print("\\nLOADED", *[name for name in sys.modules if "." not in name], file=sys.stdout)
print("\\nCOUNT", len(sys.modules))
"""
TIMED = """
import subprocess, sys
command = [sys.executable, "-X", "importtime", "-m", "paios", *sys.argv[1:]]
done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL)
sys.stdout.buffer.write(done.stderr)
"""
_LINE = re.compile(r"import time:\s*(\d+) \|\s*\d+ \|\s*(\S+)")
ROUNDS = 5
SHOWN = 15


def measure(lab: Lab) -> Topic:
    env = lab.home("imports")
    loaded = {name: lab.run(Case(name, [sys.executable, "-c", LOADED, *args], env=env)).output for name, args in COMMANDS}
    rows = []
    for name, output in loaded.items():
        modules = set(re.findall(rb"^LOADED (.*)$", output, re.MULTILINE)[-1].decode().split())
        count = re.findall(rb"^COUNT (\d+)$", output, re.MULTILINE)[-1].decode()
        present = [heavy for heavy in HEAVY if heavy in modules]
        rows.append((f"`{name}`", count, ", ".join(present) or "none of them"))
    tables = [Table("Modules loaded", ("command", "modules", f"of {', '.join(HEAVY)}"), rows)]
    tables += [_cost(lab, name, args) for name, args in COMMANDS if name != "ai history"]
    method = (
        f"`python -X importtime`, the least of {ROUNDS} runs for each module, its own time without what it imports, "
        "added up for each package. The profiler itself takes part of the time."
    )
    return Topic("Imports", method, tables)


def _cost(lab: Lab, name: str, args: list[str]) -> Table:
    least: dict[str, int] = {}
    for _ in range(ROUNDS):
        told = lab.run(Case(name, [sys.executable, "-c", TIMED, *args], env=lab.home("imports"))).output.decode()
        for own_us, module in _LINE.findall(told):
            least[module] = min(int(own_us), least.get(module, 1 << 60))
    packages: dict[str, list[int]] = defaultdict(list)
    for module, own_us in least.items():
        top, _, rest = module.partition(".")
        packages[f"{top}.{rest.partition('.')[0]}" if top == "paios" and rest else top].append(own_us)
    dearest = sorted(packages.items(), key=lambda item: -sum(item[1]))
    rows = [(package, str(len(times)), ms(sum(times) / 1e6)) for package, times in dearest[:SHOWN]]
    rows.append(("the others", str(sum(len(t) for _, t in dearest[SHOWN:])), ms(sum(sum(t) for _, t in dearest[SHOWN:]) / 1e6)))
    rows.append(("all", str(len(least)), ms(sum(least.values()) / 1e6)))
    return Table(f"`{name}` by package", ("package", "modules", "import time"), rows)
