"""What deciding who does a request costs: the decision itself, its second stage, and with all the facts it rests on."""

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
from paios.config.models import Models
from paios.config.settings import Settings
from paios.interfaces.intake import Asked, request
from paios.memory.embed import SentenceEncoder, is_installed
from paios.routing.decide import Ask, decide
from paios.routing.model import meaning, shipped
from paios.routing.policy import House

ENGLISH = "Refactor the login handler so that the failing test in tests/test_login.py passes, then explain the change."
ARABIC = "اشرح لي لماذا يفشل اختبار تسجيل الدخول هذا واقترح إصلاحا مع مثال قصير"
BATCHES = 15
PROSE = Path(__file__).parents[1] / "docs" / "tour.md"
# From nothing to the first decision, against a Python that does nothing.
FIRST = f"""
from paios.routing.decide import Ask, decide
from paios.routing.policy import House
decide(Ask({ENGLISH!r}, False, None, None, House({KNOWN!r}, {{}}, {{"general": ("claude",)}}, {{}}), 0.35))
"""


def measure(lab: Lab) -> Topic:
    started = lab.side_by_side(
        [Case("python -c pass", [sys.executable, "-c", "pass"]), Case("first decision", [sys.executable, "-c", FIRST])], 9
    )
    method = (
        f"CPU of one decision, the median of {BATCHES} batches. Goals: at most 1 ms for 500 characters, 3 ms for 20 kB, 20 ms"
        " for 1 MB, and 50 ms with the start."
    )
    tables = [_pure(), *_second(), anyio.run(_whole, lab), compared("From the start of Python", started, "python -c pass")]
    return Topic("A decision", method, tables)


def _texts() -> dict[str, str]:
    # Prose of many words: of a sentence repeated every word would be known after the first.
    prose = "Summarise this in three sentences:\n\n" + PROSE.read_text(encoding="utf-8")
    return {
        "English, a sentence": ENGLISH,
        "Arabic, a sentence": ARABIC,
        "500 characters": prose[:500],
        "20 kB": (prose * (20_000 // len(prose) + 1))[:20_000],
        "English, 1 MB": (ENGLISH + "\n") * (1_000_000 // len(ENGLISH)),
        "Arabic, 1 MB": (ARABIC + "\n") * (1_000_000 // len(ARABIC.encode())),
        "one line of 1 MB": "x" * 1_000_000,
    }


def _pure() -> Table:
    house = House(KNOWN, {}, Models.default().routes, Models.default().tiers)
    threshold = Settings().routing.threshold

    def once(text: str) -> Decision:
        return decide(Ask(text, False, None, None, house, threshold))

    rows = [(name, once(text).domain, ms(_cpu(partial(once, text)))) for name, text in _texts().items()]
    return Table("The decision alone, by words", ("request", "domain", "CPU"), rows)


def _second() -> list[Table]:
    """What the second stage adds once it is warm; no table where the `vectors` extra is not installed."""
    if not is_installed():
        return []
    encoder, model = SentenceEncoder(), shipped()
    began, cpu = time.perf_counter(), time.process_time()
    encoder.encode([ENGLISH])
    loading = (ms(time.process_time() - cpu), ms(time.perf_counter() - began))

    def once(text: str) -> None:
        parts = model.read(text)
        model.classify(parts, encoder.encode([meaning(parts)])[0])

    rows = []
    for name, text in _texts().items():
        cpu_s, wall_s = _cpu(partial(once, text)), _wall(partial(once, text))
        rows.append((name, ms(cpu_s), ms(wall_s)))
    note = "By words and by meaning."
    return [Table("The second stage, warm", ("request", "CPU", "wall"), [("loading it, once", *loading), *rows], note)]


async def _whole(lab: Lab) -> Table:
    env = lab.home("decision")
    async with open_house(Path(env["PAIOS_HOME"]), env) as house:
        house.router.encoder = None  # measured by itself above

        def asked(text: str) -> Request:
            return request(Asked(text, lab.cwd, "th-1", "cli"), house.settings.limits, house.means.clock.at())

        rows = [(name, ms(_cpu(partial(house.means.decide, asked(text))))) for name, text in _texts().items()]
    note = (
        "As the path does it, by words alone: every brain is first asked whether it can be tried, which looks for programs and"
        " packages, and the log is asked who had better wait."
    )
    return Table("With the brains asked", ("request", "CPU"), rows, note)


def _cpu(action: Callable[[], object]) -> float:
    """CPU seconds of one call: batches of about 20 ms."""
    return _timed(action, time.process_time)


def _wall(action: Callable[[], object]) -> float:
    """The same by the clock."""
    return _timed(action, time.perf_counter)


def _timed(action: Callable[[], object], clock: Callable[[], float]) -> float:
    began = clock()
    action()
    once = max(clock() - began, 1e-6)
    count = max(1, int(0.02 / once))
    batches = []
    for _ in range(BATCHES):
        began = clock()
        for _ in range(count):
            action()
        batches.append((clock() - began) / count)
    return median(batches)
