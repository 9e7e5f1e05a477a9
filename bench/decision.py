"""What deciding who does a request costs: the decision itself, and with the look for programs it rests on."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio

from bench.lab import Case, Lab, Table, Topic, compared, median, ms
from paios.app import KNOWN, open_house
from paios.base.types import Decision, Request
from paios.config.settings import Settings
from paios.interfaces.intake import Asked, request
from paios.routing.decide import Ask, decide

ENGLISH = "Refactor the login handler so that the failing test in tests/test_login.py passes, then explain the change."
ARABIC = "اشرح لي لماذا يفشل اختبار تسجيل الدخول هذا واقترح إصلاحا مع مثال قصير"
TEXTS = {
    "English, a sentence": ENGLISH,
    "Arabic, a sentence": ARABIC,
    "English, 1 MB": (ENGLISH + "\n") * (1_000_000 // len(ENGLISH)),
    "Arabic, 1 MB": (ARABIC + "\n") * (1_000_000 // len(ARABIC.encode())),
    "one line of 1 MB": "x" * 1_000_000,
}
BATCHES = 15
# From nothing to the first decision, against a Python that does nothing.
FIRST = f"""
from paios.config.settings import Settings
from paios.routing.decide import Ask, decide
s = Settings()
decide(Ask({ENGLISH!r}, False, None, None, s.routing.table, s.routing.threshold, {{}}, {KNOWN!r}, {{}}))
"""


def measure(lab: Lab) -> Topic:
    started = lab.side_by_side(
        [Case("python -c pass", [sys.executable, "-c", "pass"]), Case("first decision", [sys.executable, "-c", FIRST])], 9
    )
    method = f"CPU of one decision, the median of {BATCHES} batches. Goal: at most 1 ms, and 50 ms with the start."
    tables = [_pure(), anyio.run(_whole, lab), compared("From the start of Python", started, "python -c pass")]
    return Topic("A decision", method, tables)


def _pure() -> Table:
    settings = Settings()

    def once(text: str) -> Decision:
        routing = settings.routing
        return decide(Ask(text, False, None, None, routing.table, routing.threshold, {}, KNOWN, {}))

    rows = [(name, once(text).domain, ms(_cpu(partial(once, text)))) for name, text in TEXTS.items()]
    return Table("The decision alone", ("request", "domain", "CPU"), rows)


async def _whole(lab: Lab) -> Table:
    env = lab.home("decision")
    async with open_house(Path(env["PAIOS_HOME"]), env) as house:

        def asked(text: str) -> Request:
            return request(Asked(text, lab.cwd, "th-1", "cli"), house.settings.limits, house.means.clock.at())

        rows = [(name, ms(_cpu(partial(house.means.decide, asked(text))))) for name, text in TEXTS.items()]
    note = "As the path does it: every brain is first asked whether it can be tried, which looks for programs and packages."
    return Table("With the brains asked", ("request", "CPU"), rows, note)


def _cpu(action: Callable[[], object]) -> float:
    """CPU seconds of one call: batches of about 20 ms."""
    began = time.process_time()
    action()
    once = max(time.process_time() - began, 1e-6)
    count = max(1, int(0.02 / once))
    batches = []
    for _ in range(BATCHES):
        began = time.process_time()
        for _ in range(count):
            action()
        batches.append((time.process_time() - began) / count)
    return median(batches)
