"""How good decisions are, beside an example counted by hand."""

from __future__ import annotations

from dataclasses import astuple
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paios.base.types import DOMAINS, Domain
from paios.routing.measure import Judged, measure

# Ten decisions. Right: the 1st, 2nd, 3rd, 5th, 6th and 9th.
EXAMPLE = [
    Judged("code", "code", 0.95),
    Judged("code", "code", 0.91),
    Judged("code", "code", 0.55),
    Judged("code", "general", 0.58),
    Judged("search", "search", 1.0),
    Judged("search", "search", 0.12),
    Judged("search", "general", 0.18),
    Judged("general", "code", 0.6),
    Judged("general", "general", 0.0),
    Judged("vision", "general", 0.93),
]


def test_accuracy_is_the_share_that_was_right() -> None:
    found = measure(EXAMPLE)
    assert (found.rows, found.accuracy) == (10, 0.6)


def test_each_domain_has_its_precision_and_recall() -> None:
    of = {d.domain: astuple(d) for d in measure(EXAMPLE).domains}
    assert tuple(of) == DOMAINS
    assert of["code"] == ("code", 4, pytest.approx(3 / 4), pytest.approx(3 / 4))
    assert of["search"] == ("search", 3, pytest.approx(1.0), pytest.approx(2 / 3))
    assert of["general"] == ("general", 2, pytest.approx(1 / 4), pytest.approx(1 / 2))


def test_a_share_of_nothing_is_none() -> None:
    of = {d.domain: astuple(d) for d in measure(EXAMPLE).domains}
    assert of["vision"] == ("vision", 1, None, 0.0), "one row, never decided"
    assert of["creative"] == ("creative", 0, None, None)
    decided_only = measure([Judged("code", "creative", 0.5)]).domains
    assert {d.domain: astuple(d) for d in decided_only}["creative"] == ("creative", 0, 0.0, None)


def test_the_confusion_matrix_has_a_row_for_what_it_was_and_a_column_for_what_was_decided() -> None:
    confusion = measure(EXAMPLE).confusion
    counted = {(is_, as_): confusion[i][j] for i, is_ in enumerate(DOMAINS) for j, as_ in enumerate(DOMAINS) if confusion[i][j]}
    assert counted == {
        ("code", "code"): 3,
        ("code", "general"): 1,
        ("search", "search"): 2,
        ("search", "general"): 1,
        ("general", "code"): 1,
        ("general", "general"): 1,
        ("vision", "general"): 1,
    }


def test_decisions_of_like_confidence_lie_in_one_bin() -> None:
    # A confidence on an edge belongs above it, 1.0 to the last.
    assert list(map(astuple, measure(EXAMPLE).bins)) == [
        (0.0, 1, pytest.approx(0.0), pytest.approx(1.0)),
        (0.1, 2, pytest.approx(0.15), pytest.approx(0.5)),
        (0.5, 2, pytest.approx(0.565), pytest.approx(0.5)),
        (0.6, 1, pytest.approx(0.6), pytest.approx(0.0)),
        (0.9, 4, pytest.approx(0.9475), pytest.approx(0.75)),
    ]


def test_the_calibration_error_is_the_mean_distance_of_confidence_and_accuracy() -> None:
    by_hand = (1 * 1.0 + 2 * 0.35 + 2 * 0.065 + 1 * 0.6 + 4 * 0.1975) / 10
    assert measure(EXAMPLE).calibration_error == pytest.approx(by_hand)


def test_what_is_as_often_right_as_it_says_has_no_calibration_error() -> None:
    honest = [Judged("code", "code" if n < 7 else "search", 0.7) for n in range(10)]
    assert measure(honest).calibration_error == pytest.approx(0)


DOMAIN: st.SearchStrategy[Domain] = st.sampled_from(get_args(Domain))


@given(st.lists(st.builds(Judged, DOMAIN, DOMAIN, st.floats(0, 1)), min_size=1))
def test_every_decision_is_counted_once(judged: list[Judged]) -> None:
    found = measure(judged)
    assert found.rows == sum(map(sum, found.confusion)) == sum(b.rows for b in found.bins) == sum(d.rows for d in found.domains)
    assert found.accuracy == pytest.approx(sum(found.confusion[k][k] for k in range(len(DOMAINS))) / len(judged))
    assert 0 <= found.calibration_error <= 1
    assert [b.low for b in found.bins] == sorted({b.low for b in found.bins})
