"""The gateway brain: any model API, and any model server on this machine, through pydantic-ai.

A model is named `endpoint/model-id`, split at the first slash: `openai/gpt-6-luna`, `ollama/qwen3:4b`,
`openrouter/anthropic/claude-sonnet-5.5`. The thread's messages are given as messages; there is no session to resume.
One layer of retries, ours: a request that failed before its answer began is sent at most twice more.

pydantic-ai and the vendors' SDKs (1.1 s of CPU) are imported in a worker thread at the first turn, never before.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

import anyio

from paios.base.errors import BrainError, BrainRefused, BrainUnavailable
from paios.base.events import Said, Spent, Thought
from paios.base.process import Owner
from paios.base.types import Attachment, BrainStatus, Message, Reply, Turn, Usage
from paios.brains.brain import Emit, Gate
from paios.brains.gateway.discover import PLACES, Place, discover, is_any_open, places
from paios.brains.gateway.endpoint import Endpoint
from paios.brains.gateway.http import open_client, served_models
from paios.brains.gateway.tools import Toolbox
from paios.brains.gateway.vendors import (
    NAME,
    adapter,
    again,
    cost,
    failure,
    is_forwarded,
    key_remedy,
    status_of,
    whole,
    words_of,
)

if TYPE_CHECKING:
    import httpx2
    from pydantic_ai import Agent
    from pydantic_ai.exceptions import AgentRunError
    from pydantic_ai.messages import AgentStreamEvent, ModelMessage, UserContent
    from pydantic_ai.usage import RunUsage

log = logging.getLogger(__name__)

ABSENT = "no model API key, no configured model and no local model server"
EXTRA = "install it: pip install 'paios[gateway]'"
STEPS = 100  # model calls in one turn; a long piece of work takes 30
_STATUS_S = 3.0

_INSTRUCTIONS = """\
You are a helpful assistant inside PAIOS, a personal AI operating system on the person's own computer. \
Answer in the person's language. The working folder is {cwd}. \
Use the tools only if the task needs them; when one is denied, say so and go on without it."""


class GatewayBrain:
    """A Brain over model APIs. *discover* looks for local model servers when no configured endpoint has a model."""

    name = NAME

    def __init__(
        self,
        *,
        env: Mapping[str, str],
        owner: Owner,
        endpoints: tuple[Endpoint, ...] = (),
        discover: bool = True,
        look_at: tuple[Place, ...] = PLACES,
    ) -> None:
        self._env = env
        self._owner = owner
        self._endpoints = endpoints
        self._places = places(env, look_at) if discover else ()
        self._http: httpx2.AsyncClient | None = None
        self._opening = anyio.Lock()
        self._without_tools: set[str] = set()  # "endpoint/model" that were found unable to call any

    def absent(self) -> str:
        if importlib.util.find_spec("pydantic_ai") is None:
            return f"the gateway is not installed; {EXTRA}"
        if any(e.is_usable for e in self._endpoints) or is_any_open(self._places):
            return ""
        return ABSENT

    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply:
        if importlib.util.find_spec("pydantic_ai") is None:
            raise BrainUnavailable(NAME, "pydantic-ai is not installed", reason="missing", remedy=EXTRA)
        endpoint, model = await self._choose(turn.model)
        if not endpoint.is_usable:
            raise BrainUnavailable(NAME, f"no key for {endpoint.name}", reason="logged_out", remedy=key_remedy(endpoint))
        keys = frozenset(e.key for e in self._endpoints if e.key)
        box = Toolbox(turn.cwd, NAME, gate, emit, self._env, self._owner, keys)
        call = _Call(endpoint, model, turn, emit, box if f"{endpoint.name}/{model}" not in self._without_tools else None)
        try:
            return await call.run(await self._client())
        except _NoTools:
            log.info("%s/%s cannot call tools: asked without", endpoint.name, model)
            self._without_tools.add(f"{endpoint.name}/{model}")
            return await replace(call, box=None).run(await self._client())

    async def status(self) -> BrainStatus:
        version = _version()
        if version is None:
            return BrainStatus(NAME, False, detail="pydantic-ai is not installed", remedy=EXTRA)
        seen: dict[str, tuple[str, ...] | BrainError] = {}

        async def look(endpoint: Endpoint) -> None:
            try:
                seen[endpoint.name] = await self._served(endpoint)
            except BrainError as error:
                seen[endpoint.name] = error

        local = await discover(self._places)
        everything = (*self._endpoints, *(e for e in local if e.name not in {c.name for c in self._endpoints}))
        async with anyio.create_task_group() as group:
            for endpoint in everything:
                group.start_soon(look, endpoint)
        return _status(version, everything, seen)

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _client(self) -> httpx2.AsyncClient:
        async with self._opening:
            if self._http is None:
                self._http = await anyio.to_thread.run_sync(open_client, self._env)
            return self._http

    async def _served(self, endpoint: Endpoint) -> tuple[str, ...]:
        """What the endpoint says it has. Raises BrainError if it does not answer or refuses the key."""
        if not endpoint.is_usable:
            raise BrainUnavailable(NAME, f"no key for {endpoint.name}", reason="logged_out", remedy=key_remedy(endpoint))
        status, names = await served_models(await self._client(), endpoint, _STATUS_S)
        if status == 0:
            raise BrainUnavailable(NAME, f"{endpoint.name} does not answer at {endpoint.url}", reason="cut")
        if status != 200:
            raise failure(endpoint, status, f"{endpoint.name} answered {status}", None, None)
        return names

    async def _choose(self, wanted: str | None) -> tuple[Endpoint, str]:
        """
        The endpoint and its model that *wanted* names, or the first there is.

        Raises:
            BrainUnavailable: nothing is configured, nothing runs here.
            BrainRefused: *wanted* is none of the known ones; they are named.
        """
        if wanted is None:
            found = next(((e, e.models[0]) for e in self._endpoints if e.is_usable and e.models), None)
            return found or await self._first()
        chosen = _match(wanted, self._endpoints)
        local = () if chosen is not None else await discover(self._places)
        if chosen is None:
            chosen = _match(wanted, local)
        if chosen is None:
            raise BrainRefused(NAME, f"no endpoint or model {wanted!r}", remedy=_known((*self._endpoints, *local)))
        endpoint, model = chosen
        if endpoint in local and model not in endpoint.models and f"{model}:latest" not in endpoint.models:
            raise BrainRefused(NAME, f"{endpoint.name} has no model {model!r}", remedy=_known(local))
        if model:
            return endpoint, model
        served = endpoint.models or await self._served(endpoint)
        if not served:
            raise BrainRefused(NAME, f"{endpoint.name} names no model of its own; say {endpoint.name}/model-id")
        return endpoint, served[0]

    async def _first(self) -> tuple[Endpoint, str]:
        """A model nobody named: of a local server, or what a configured endpoint without models says it has."""
        for endpoint in await discover(self._places):
            return endpoint, endpoint.models[0]
        usable = [e for e in self._endpoints if e.is_usable]
        for endpoint in usable:
            with suppress(BrainError):  # the next one may answer
                if served := await self._served(endpoint):
                    return endpoint, served[0]
        if usable:
            names = ", ".join(e.name for e in usable)
            raise BrainUnavailable(NAME, f"no model is named for {names}, and none answers with a list", reason="missing")
        raise BrainUnavailable(
            NAME, ABSENT, reason="missing", remedy="set a key such as ANTHROPIC_API_KEY, or start Ollama with a model"
        )


class _NoTools(Exception):
    """The model cannot call tools; nothing was said yet."""


@dataclass
class _Call:
    """One turn with one model."""

    endpoint: Endpoint
    model: str
    turn: Turn
    emit: Emit
    box: Toolbox | None
    spoke: bool = field(default=False, init=False)

    async def run(self, http: httpx2.AsyncClient) -> Reply:
        images = await anyio.to_thread.run_sync(_read_images, self.turn.images)
        agent, usage, history = await anyio.to_thread.run_sync(self._prepare, http, abandon_on_cancel=True)
        from pydantic_ai import BinaryContent, UsageLimits  # loaded by _prepare, off the event loop  # noqa: PLC0415
        from pydantic_ai.exceptions import AgentRunError, UserError  # noqa: PLC0415

        prompt: list[UserContent] = [self.turn.text, *(BinaryContent(data, media_type=kind) for data, kind in images)]
        try:
            result = await agent.run(
                prompt if images else self.turn.text,
                message_history=history,
                usage=usage,
                usage_limits=UsageLimits(request_limit=STEPS),
                event_stream_handler=self._hear,
            )
        except (AgentRunError, UserError) as error:
            self._fail(error)
        finally:
            with anyio.move_on_after(2, shield=True):  # also when cancelled: what was used was used
                await self._bill(usage)
        return Reply(result.output, f"{self.endpoint.name}/{self.model}")

    def _prepare(self, http: httpx2.AsyncClient) -> tuple[Agent[object, str], RunUsage, list[ModelMessage]]:
        """In a worker thread: the imports, the SDK's client and the price list cost more than the loop can wait."""
        from pydantic_ai import Agent, RunUsage, Tool  # noqa: PLC0415  (1.1 s of CPU)
        from pydantic_ai.capabilities import Hooks  # noqa: PLC0415

        box = self.box
        tools = [] if box is None else [
            Tool(box.list_files, takes_ctx=False),
            Tool(box.read_file, takes_ctx=False),
            Tool(box.search_files, takes_ctx=False),
            Tool(box.write_file, takes_ctx=False, sequential=True),
            Tool(box.run_command, takes_ctx=False, sequential=True),
        ]  # fmt: skip
        agent: Agent[object, str] = Agent(
            adapter(self.endpoint, self.model, http),
            name="paios",
            instructions=_INSTRUCTIONS.format(cwd=self.turn.cwd),
            tools=tools,
            retries={"tools": 3, "output": 0},  # how often a tool call with wrong arguments may be put right
            model_settings={"max_retries": 0},
            capabilities=[Hooks(model_request_error=again, after_model_request=whole)],
        )
        return agent, RunUsage(), _messages(self.turn.history)

    async def _hear(self, _context: object, events: AsyncIterable[AgentStreamEvent]) -> None:
        """Passes on the deltas of one model answer; a later answer of the same turn begins a paragraph."""
        paragraph = self.spoke
        async for event in events:
            delta = _delta(event)
            if isinstance(delta, Said):
                if paragraph:
                    delta = Said("\n\n" + delta.text)
                    paragraph = False
                self.spoke = True
            if delta is not None:
                await self.emit(delta)

    def _fail(self, error: AgentRunError | RuntimeError) -> NoReturn:
        """Raises what the house understands by *error*."""
        from pydantic_ai.exceptions import ModelAPIError, ModelConnectionError, UnexpectedModelBehavior, UserError  # noqa: PLC0415

        where = f"{self.endpoint.name}/{self.model}"
        if isinstance(error, ModelAPIError) and not isinstance(error, ModelConnectionError):
            status, said = status_of(error), words_of(error)
            if self.box is not None and not self.spoke and status == 400 and "does not support tools" in said:
                raise _NoTools from error
            hint = f"known: {', '.join(self.endpoint.models)}" if status == 404 and self.endpoint.models else None
            raise failure(self.endpoint, status, f"{where}: {said}", error.retry_after, hint) from error
        if isinstance(error, ModelConnectionError):
            raise BrainUnavailable(NAME, f"{where}: the connection failed: {words_of(error)}", reason="cut") from error
        if isinstance(error, UnexpectedModelBehavior):
            raise BrainUnavailable(NAME, f"{where}: no sound answer: {error.message}", reason="cut") from error
        if isinstance(error, UserError):
            raise BrainRefused(NAME, f"{where}: {error}") from error
        raise BrainUnavailable(NAME, f"{where}: {error}", reason="broken") from error

    async def _bill(self, used: RunUsage) -> None:
        """One `Spent` for the turn, if a model was reached."""
        usage = Usage(
            # pydantic-ai counts inclusively for every vendor: the cached tokens, read and written, are in its input.
            input=max(0, used.input_tokens - used.cache_read_tokens - used.cache_write_tokens),
            cached=used.cache_read_tokens,
            cache_write=used.cache_write_tokens,
            output=used.output_tokens,
            reasoning=used.output_reasoning_tokens,
        )
        if usage == Usage() and not self.spoke:
            return
        model = f"{self.endpoint.name}/{self.model}"
        if self.endpoint.is_own and not is_forwarded(self.model):
            await self.emit(Spent(NAME, model, usage, Decimal(0), "free"))
            return
        paid = None if usage == Usage() else await anyio.to_thread.run_sync(cost, self.endpoint, self.model, usage)
        await self.emit(Spent(NAME, model, usage, paid, "unknown" if paid is None else "priced"))


def _delta(event: AgentStreamEvent) -> Said | Thought | None:
    from pydantic_ai.messages import (  # noqa: PLC0415
        PartDeltaEvent,
        PartStartEvent,
        TextPart,
        TextPartDelta,
        ThinkingPart,
        ThinkingPartDelta,
    )

    match event:
        case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return Said(text) if text else None
        case PartStartEvent(part=ThinkingPart(content=text)):
            return Thought(text) if text else None
        case PartDeltaEvent(delta=ThinkingPartDelta(content_delta=thought)):
            return Thought(thought) if thought else None
    return None


def _messages(history: Sequence[Message]) -> list[ModelMessage]:
    from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, UserPromptPart  # noqa: PLC0415

    return [
        ModelRequest(parts=[UserPromptPart(m.text)]) if m.role == "user" else ModelResponse(parts=[TextPart(m.text)])
        for m in history
        if m.text  # Anthropic refuses an empty message
    ]


def _read_images(images: tuple[Attachment, ...]) -> list[tuple[bytes, str]]:
    try:
        return [(image.path.read_bytes(), image.media_type) for image in images]
    except OSError as error:
        raise BrainRefused(NAME, f"the image cannot be read: {error}") from error


def _match(wanted: str, endpoints: Sequence[Endpoint]) -> tuple[Endpoint, str] | None:
    """By the endpoint before the first slash, else by a model id, which may hold slashes itself; "" is the first model."""
    head, _, rest = wanted.partition("/")
    for endpoint in endpoints:
        if endpoint.name == head:
            return endpoint, rest or next(iter(endpoint.models), "")
    return next(((e, wanted) for e in endpoints if wanted in e.models), None)


def _known(endpoints: Sequence[Endpoint]) -> str:
    names = [f"{e.name}/{m}" for e in endpoints for m in (e.models or ("…",))]
    return f"known: {', '.join(names)}" if names else "none is configured or runs here"


def _version() -> str | None:
    import importlib.metadata  # 20 ms, and only for a status  # noqa: PLC0415

    try:
        return f"pydantic-ai {importlib.metadata.version('pydantic-ai-slim')}"
    except importlib.metadata.PackageNotFoundError:
        return None


def _status(version: str, endpoints: Sequence[Endpoint], seen: Mapping[str, tuple[str, ...] | BrainError]) -> BrainStatus:
    answering = [e for e in endpoints if not isinstance(seen[e.name], BrainError)]
    failures = [(e, found) for e in endpoints if isinstance(found := seen[e.name], BrainError)]
    models: list[str] = []
    for endpoint in answering:
        served = seen[endpoint.name]
        assert not isinstance(served, BrainError)
        models += [f"{endpoint.name}/{model}" for model in (endpoint.models or served)]
    lines = [f"{e.name} answers" for e in answering] + [f"{e.name}: {error.message}" for e, error in failures]
    refused = any(isinstance(error, BrainUnavailable) and error.reason == "logged_out" for _, error in failures)
    login = "logged out" if refused else ""
    if answering:
        login = "api key" if any(e.key for e in answering) else "none needed"
    remedy = next((error.remedy for _, error in failures if error.remedy), "")
    return BrainStatus(
        NAME,
        bool(answering),
        version=version,
        login=login,
        detail="; ".join(lines) or ABSENT,
        remedy="" if answering else remedy,
        models=tuple(models),
    )
