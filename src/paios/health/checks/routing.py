"""Whether requests are decided as they should be: one is, by everything that takes part."""

from __future__ import annotations

from anyio import to_thread

from paios.base.errors import StoreError
from paios.health.check import Finding, Scene
from paios.memory.embed import SentenceEncoder, is_installed
from paios.routing.model import meaning
from paios.work import learning

_ASKED = "what will the weather be like in Cairo tomorrow?"


async def check(scene: Scene) -> list[Finding]:
    try:
        model = await to_thread.run_sync(learning.load, scene.home)
    except StoreError as error:
        return [Finding("routing", "problem", error.message, error.remedy)]
    parts = model.read(_ASKED)
    if not is_installed():
        domain, confidence = model.classify(parts).scores[0]
        words = f"requests are decided by their words alone (a question about the weather: {domain}, {confidence:.2f})"
        return [Finding("routing", "warning", words, "pip install 'paios[vectors]' lets their meaning count too")]
    vectors = await to_thread.run_sync(SentenceEncoder().encode, [meaning(parts)])
    domain, confidence = model.classify(parts, vectors[0]).scores[0]
    words = f"requests are decided by words and meaning (a question about the weather: {domain}, {confidence:.2f})"
    if domain != "search":
        return [Finding("routing", "problem", words, "`ai route weights undo` takes back what was learned")]
    return [Finding("routing", "ok", words)]
