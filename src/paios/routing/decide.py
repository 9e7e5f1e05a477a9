"""Who should do a request: what the person said first, then what it is about, then who is there.

    --brain, @prefix → "ask Claude to …" → an image → the classifier → the threshold → the table → who cannot be tried

Pure: the same `Ask` gives the same `Decision`. `features.classify` is the only part that guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from paios.base.errors import BadInput
from paios.base.types import Candidate, Decision, Domain
from paios.routing import features, phrases, policy

_IMAGE = 0.95  # an image attached is nearly always what the question is about


@dataclass(frozen=True, slots=True)
class Ask:
    """All a decision depends on."""

    text: str
    has_image: bool
    brain: str | None  # the person's explicit choice, `--brain`
    model: str | None  # `--model`: goes to every candidate, and is theirs to judge
    table: Mapping[str, tuple[str, ...]]  # domain → "brain" or "brain:tier", in order
    threshold: float  # 0–1: below it a request counts as general
    absent: Mapping[str, str]  # brain → why it cannot be tried
    known: tuple[str, ...]  # every brain's name
    model_for: Mapping[tuple[str, str], str | None]  # (brain, tier) → the brain's own name of its model


def decide(ask: Ask) -> Decision:
    """
    The decision for *ask*: its candidates begin with a brain that can be tried whenever there is one, but for those
    passed over, which come with `why_not`; a chosen brain is the only candidate even when it cannot be tried.

    Raises:
        BadInput: `ask.brain` names no brain, or `ask.model` is given and nothing says whose it is.
    """
    if ask.brain is not None:
        policy.check_brain(ask.brain, ask.known)
    prefix = phrases.prefix(ask.text, ask.known)
    parts = phrases.parts(prefix.rest)
    reasons: list[str] = []
    brain = _brain(ask, prefix, parts, reasons)
    domain, confidence, scores = _domain(ask, prefix, parts, reasons)
    if prefix.unknown:
        reasons.append(f"@{prefix.unknown} is no domain, brain or tier of ours: left in the text")
    if prefix.tier:
        reasons.append(f"@{prefix.tier}: the {prefix.tier} tier for whoever answers")
    choice = policy.Choice(brain, ask.model, prefix.tier)
    found = policy.candidates(domain, choice, policy.House(ask.known, ask.absent, ask.table, ask.model_for))
    reasons += _passed_over(found)
    return Decision(
        text=prefix.rest, domain=domain, confidence=confidence, candidates=found, reasons=tuple(reasons), scores=scores
    )


def _brain(ask: Ask, prefix: phrases.Prefix, parts: phrases.Parts, reasons: list[str]) -> str | None:
    if ask.brain is not None:
        reasons.append(f"you chose {ask.brain}")
        if prefix.brain and prefix.brain != ask.brain:
            reasons.append(f"@{prefix.brain} gives way to the brain chosen by option")
        return ask.brain
    if prefix.brain:
        reasons.append(f"you wrote @{prefix.brain}")
        return prefix.brain
    named = phrases.named_brain(parts.instruction, ask.known)
    if named:
        reasons.append(f"you asked for {named} in your words")
    if named is None and ask.model is not None:
        if "/" not in ask.model:
            raise BadInput(f"--model {ask.model} needs a brain", remedy="name it with --brain or as @brain")
        reasons.append(f"{ask.model} is a model of the gateway's")
        return "gateway"
    return named


Scores = tuple[tuple[Domain, float], ...]


def _domain(ask: Ask, prefix: phrases.Prefix, parts: phrases.Parts, reasons: list[str]) -> tuple[Domain, float, Scores]:
    if prefix.domain:
        reasons.append(f"you wrote @{prefix.domain}")
        return prefix.domain, 1.0, ()
    if ask.has_image:
        reasons.append("an image is attached → vision")
        return "vision", _IMAGE, ()
    classified = features.classify(parts)
    (best, confidence), *_ = classified.scores
    if confidence < ask.threshold and best != "general":
        reasons.append(f"perhaps {best} ({confidence:.2f}), but below {ask.threshold:.2f} a request counts as general")
        return "general", dict(classified.scores)["general"], classified.scores
    reasons += classified.reasons
    return best, confidence, classified.scores


def _passed_over(found: tuple[Candidate, ...]) -> list[str]:
    """Each brain that would have come earlier than the first that can be tried, and why it does not."""
    passed = []
    for candidate in found:
        if not candidate.why_not:
            break
        passed.append(f"not {candidate.brain}: {candidate.why_not}")
    return list(dict.fromkeys(passed))
