"""What corrections teach, and when they are refused."""

from __future__ import annotations

from random import Random

import pytest
from tests.routing.prompts import ROWS

from paios.base.types import DOMAINS, Domain
from paios.routing.learn import FEWEST, Correction, anchors, propose
from paios.routing.model import Model, shipped, with_change

MODEL = shipped()
# A word of this house that no training prompt knows: by its other words each request is about something else.
_TAUGHT = [
    "water the florbo on the balcony",
    "is the florbo ready",
    "open the florbo a little",
    "how is my florbo today",
    "move the florbo into the shade",
    "give the florbo some more of it",
    "has anybody seen the florbo",
    "tell me about the florbo",
    "the florbo looks tired again",
    "what does a florbo need in winter",
    "please rest the florbo until noon",
    "could the florbo be thirsty",
    "show me the florbo",
    "check on the florbo",
    "two more drops for the florbo",
    "clean the leaves of the florbo",
]
_HELD_OUT = ["is my florbo ready now", "check the florbo", "rest the florbo", "could my florbo be tired"]


def best(text: str, model: Model = MODEL) -> Domain:
    return model.classify(model.read(text)).scores[0][0]


_GIVEN = [best(text) for text in _TAUGHT + _HELD_OUT]
# A domain that the shipped model hardly ever gives to the requests about the florbo, and those to which it does not.
WRONG = min(DOMAINS, key=_GIVEN.count)
OTHER: Domain = next(domain for domain in DOMAINS if domain not in (WRONG, best(_TAUGHT[0])))
TAUGHT = [text for text in _TAUGHT if best(text) != WRONG]
HELD_OUT = [text for text in _HELD_OUT if best(text) != WRONG]


def test_corrections_that_contradict_the_model_are_learned_and_hold_for_what_is_alike() -> None:
    proposal = propose([Correction(text, WRONG) for text in TAUGHT], MODEL)
    assert proposal is not None
    assert (proposal.corrections, proposal.before) == (len(TAUGHT), 0)
    assert proposal.after > len(TAUGHT) / 2, "by folds: each was judged by a change that had not seen it"
    assert proposal.helps
    taught = with_change(proposal.change)
    assert all(best(text, taught) == WRONG for text in TAUGHT)
    assert sum(best(text, taught) == WRONG for text in HELD_OUT) > len(HELD_OUT) / 2


def test_what_is_ordinary_stays_as_it_was() -> None:
    proposal = propose([Correction(text, WRONG) for text in TAUGHT], MODEL)
    assert proposal is not None
    taught = with_change(proposal.change)
    assert proposal.anchors == len(anchors()) >= 300
    assert proposal.anchors_before == sum(best(a.text) == a.domain for a in anchors())
    assert proposal.anchors_after == sum(best(a.text, taught) == a.domain for a in anchors())
    assert proposal.anchors_after >= proposal.anchors_before * 0.99
    assert best("write me a poem about the sea", taught) == "creative"


def test_anchors_are_ordinary_requests_of_every_domain_that_the_model_gets_right() -> None:
    assert {a.domain for a in anchors()} == set(DOMAINS)
    assert not any(a.is_not for a in anchors())
    assert sum(best(a.text) == a.domain for a in anchors()) >= 0.98 * len(anchors())


def test_a_change_is_learned_on_top_of_the_last() -> None:
    before = propose([Correction(text, WRONG) for text in TAUGHT], MODEL)
    assert before is not None
    more = [Correction(text.replace("florbo", "quindel"), OTHER) for text in TAUGHT]
    after = propose(more, with_change(before.change))
    assert after is not None
    taught = with_change(after.change)
    assert best(HELD_OUT[0], taught) == WRONG, "unlearned"
    assert sum(best(text.replace("florbo", "quindel"), taught) == OTHER for text in TAUGHT) > len(TAUGHT) / 2


def test_what_a_request_is_not_about_is_learned_without_saying_what_it_is() -> None:
    wrong = best("the florbo looks tired again")
    corrections = [Correction(text, wrong, is_not=True) for text in TAUGHT]
    proposal = propose(corrections, MODEL)
    assert proposal is not None
    assert proposal.before == sum(best(text) != wrong for text in TAUGHT)
    taught = with_change(proposal.change)
    assert sum(best(text, taught) != wrong for text in TAUGHT) > proposal.before


def test_praise_changes_nothing_that_is_right() -> None:
    praised = [Correction(text, best(text)) for text in TAUGHT]
    proposal = propose(praised, MODEL)
    assert proposal is not None
    assert (proposal.before, proposal.helps) == (len(TAUGHT), False)


@pytest.mark.parametrize("count", [0, 1, FEWEST - 1])
def test_from_too_few_nothing_is_proposed(count: int) -> None:
    assert propose([Correction(text, "search") for text in TAUGHT[:count]], MODEL) is None
    assert propose([Correction(text, "search") for text in TAUGHT[:FEWEST]], MODEL) is not None


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_does_not_help(seed: int) -> None:
    chance = Random(seed)
    rows = chance.sample(ROWS, 20)
    noise = [Correction(text, chance.choice([d for d in DOMAINS if d != domain])) for domain, text in rows]
    proposal = propose(noise, MODEL)
    assert proposal is not None
    assert not proposal.helps


def test_the_same_correction_said_again_and_again_is_no_evidence() -> None:
    proposal = propose([Correction(TAUGHT[0], WRONG)] * 12, MODEL)
    assert proposal is not None
    assert (proposal.after, proposal.helps) == (0, False), "all are in one fold: nothing unseen became better"


def test_a_change_that_spoils_what_is_ordinary_is_refused() -> None:
    ordinary = [a for a in anchors() if a.domain == "creative"][:30]
    proposal = propose([Correction(a.text, "analysis") for a in ordinary], MODEL)
    assert proposal is not None
    assert proposal.after > proposal.before
    assert proposal.anchors_after < proposal.anchors_before * 0.99
    assert not proposal.helps


def test_the_same_corrections_propose_the_same_change() -> None:
    corrections = [Correction(text, WRONG) for text in TAUGHT]
    assert propose(corrections, MODEL) == propose(corrections, MODEL)


def test_odd_corrections_are_no_trouble() -> None:
    texts = ["", "\ud800", "-" * 400, "😀", "x" * 100_000, "\0", "```\n", "@code"]
    assert propose([Correction(text, "code") for text in texts], MODEL) is not None
