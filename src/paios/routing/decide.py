"""Who should do a request: what the person said first, then what it is about, then who is there.

    --brain, @prefix → "ask Claude to …" → an image → the classifier → the threshold → the table → who cannot be tried

Pure: the same `Ask` gives the same `Decision`. `model` is the only part that guesses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from paios.base.errors import BadInput
from paios.base.types import Candidate, Decision, Domain
from paios.routing import compound, phrases, policy
from paios.routing.model import Classified, Model, Vector, meaning, shipped

_IMAGE = 0.95  # an image attached is nearly always what the question is about
_CODE = 0.9  # and what is pasted without a word is to be looked at by whoever knows code

# Above it the first stage alone is as often right as both stages are (docs/reference/routing-measured.md).
SURE = 0.85


@dataclass(frozen=True, slots=True)
class Ask:
    """All a decision depends on."""

    text: str
    has_image: bool
    brain: str | None  # the person's explicit choice, `--brain`
    model: str | None  # `--model`: goes to every candidate, and is theirs to judge
    house: policy.House
    threshold: float  # 0–1: below it a request counts as general
    classifier: Model = field(default_factory=shipped)
    # Text → its vector, for the second stage; None: the first stage decides alone.
    encode: Callable[[str], Vector] | None = None
    is_cheap: bool = False  # the encoder is warm: ask it even where the first stage is sure


def decide(ask: Ask) -> Decision:
    """
    The decision for *ask*: its candidates begin with a brain that can be tried whenever there is one, but for those
    passed over, which come with `why_not`; a chosen brain is the only candidate even when it cannot be tried.

    Raises:
        BadInput: `ask.brain` names no brain, or `ask.model` is given and nothing says whose it is.
    """
    house = ask.house
    if ask.brain is not None:
        policy.check_brain(ask.brain, house.known)
    prefix = phrases.prefix(ask.text, house.known)
    parts = ask.classifier.read(prefix.rest)
    reasons: list[str] = []
    brain = _brain(ask, prefix, parts, reasons)
    about = _about(ask, prefix, parts, reasons, needs_domain=brain is None)
    if prefix.unknown:
        reasons.append(f"@{prefix.unknown} is no domain, brain or tier of ours: left in the text")
    if prefix.tier:
        reasons.append(f"@{prefix.tier}: the {prefix.tier} tier for whoever answers")
    choice = policy.Choice(brain, ask.model, prefix.tier, ask.has_image)
    found, notes = policy.candidates(about.domain, choice, house)
    reasons += notes + _passed_over(found)
    return Decision(
        text=prefix.rest,
        domain=about.domain,
        confidence=about.confidence,
        candidates=found,
        reasons=tuple(reasons),
        scores=about.scores,
        abstained=about.abstained,
        compound=about.compound,
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
    named = phrases.named_brain(parts.instruction, ask.house.known)
    if named:
        reasons.append(f"you asked for {named} in your words")
    if named is None and ask.model is not None:
        if "/" not in ask.model:
            raise BadInput(f"--model {ask.model} needs a brain", remedy="name it with --brain or as @brain")
        reasons.append(f"{ask.model} is a model of the gateway's")
        return "gateway"
    return named


@dataclass(frozen=True, slots=True)
class _About:
    domain: Domain
    confidence: float
    scores: tuple[tuple[Domain, float], ...] = ()
    abstained: bool = False
    compound: tuple[Domain, ...] = ()


def _about(ask: Ask, prefix: phrases.Prefix, parts: phrases.Parts, reasons: list[str], *, needs_domain: bool) -> _About:
    if prefix.domain:
        reasons.append(f"you wrote @{prefix.domain}")
        return _About(prefix.domain, 1.0)
    if ask.has_image:
        reasons.append("an image is attached → vision")
        return _About("vision", _IMAGE)
    if not any(character.isalnum() for character in parts.own):
        if parts.code:
            reasons.append("there is nothing but code → code")
            return _About("code", _CODE)
        reasons.append("there is no word in it → general")
        scores = ask.classifier.classify(parts).scores
        return _About("general", dict(scores)["general"], scores, abstained=True)
    found = _classified(ask, parts, needs_domain)
    (best, confidence), *_ = found.scores
    both = compound.tasks(parts, ask.classifier)
    if both:
        reasons.append(f"two tasks: {both[0]}, then {both[1]}")
    if confidence < ask.threshold and best != "general":
        reasons.append(f"perhaps {best} ({confidence:.2f}), but below {ask.threshold:.2f} a request counts as general")
        return _About("general", dict(found.scores)["general"], found.scores, abstained=True, compound=both)
    reasons += found.reasons
    return _About(best, confidence, found.scores, compound=both)


def _classified(ask: Ask, parts: phrases.Parts, needs_domain: bool) -> Classified:
    """By the first stage, and by both where it is unsure, or where the second costs next to nothing."""
    first = ask.classifier.classify(parts)
    if ask.encode is None or not (ask.is_cheap or (needs_domain and first.scores[0][1] < SURE)):
        return first
    return ask.classifier.classify(parts, ask.encode(meaning(parts)))


def _passed_over(found: Sequence[Candidate]) -> list[str]:
    """Each brain that would have come earlier than the first that can be tried, and why it does not."""
    passed = []
    for candidate in found:
        if not candidate.why_not:
            break
        passed.append(f"not {candidate.brain}: {candidate.why_not}")
    return list(dict.fromkeys(passed))
