"""The local brain: the person's own GGUF model, run in this process by llama.cpp (the optional extra `local-llm`).

One answer at a time: a model has one context. The work is done in a worker thread, which looks at a flag between two
tokens; llama.cpp itself looks at it while it reads a long prompt. Nothing is billed.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
import io
import logging
import os
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio

from paios.base.errors import BrainRefused, BrainUnavailable
from paios.base.events import Said, Spent
from paios.base.types import BrainStatus, Reply, Turn, Usage
from paios.brains.brain import Emit, Gate

log = logging.getLogger(__name__)

NAME = "local"
EXTRA = "install it: pip install 'paios[local-llm]'"
_CLOSE_S = 5.0


class LocalBrain:
    """A Brain over one GGUF file. *context* in tokens; *threads* 0 means one fewer than there are cores."""

    name = NAME

    def __init__(self, *, gguf: str, context: int = 4096, threads: int = 0) -> None:
        self._path = Path(gguf).expanduser() if gguf else None
        self._context = context
        self._threads = threads or max(1, (os.cpu_count() or 1) - 1)  # on all cores llama.cpp waits busily: ten times slower
        self._llm: Any = None  # a llama_cpp.Llama: the package ships no complete types
        self._busy = threading.Lock()  # held by whichever thread uses the model
        self._closed = threading.Event()
        self._stop = self._closed  # of the answer being made

    def absent(self) -> str:
        if self._path is None:
            return "no model file is set: brains.local.gguf in paios.toml"
        if not self._path.is_file():
            return f"there is no model file {self._path} (brains.local.gguf in paios.toml)"
        if importlib.util.find_spec("llama_cpp") is None:
            return f"llama-cpp-python is not there; {EXTRA}"
        return ""

    async def think(self, turn: Turn, gate: Gate, emit: Emit) -> Reply:
        if why := self.absent():
            raise BrainUnavailable(NAME, why, reason="missing")
        if turn.images:
            raise BrainRefused(NAME, "this model reads no images")
        stop = threading.Event()
        said: list[str] = []

        async def show(text: str) -> None:
            await emit(Said(text))

        def tell(text: str) -> None:  # in the worker thread; ends it when the turn was cancelled
            said.append(text)
            anyio.from_thread.run(show, text)

        try:
            # Left behind when cancelled: it ends by itself at the next token, and the model stays locked until then.
            usage = await anyio.to_thread.run_sync(self._answer, _messages(turn), stop, tell, abandon_on_cancel=True)
        except BaseException:
            stop.set()
            if said:  # a piece is a token, nearly always; nobody pays for the difference
                with anyio.move_on_after(1, shield=True):
                    await emit(Spent(NAME, self._model_name, Usage(output=len(said)), Decimal(0), "free"))
            raise
        await emit(Spent(NAME, self._model_name, usage, Decimal(0), "free"))
        return Reply("".join(said), self._model_name)

    async def status(self) -> BrainStatus:
        why = self.absent()
        version = _version()
        if why:
            remedy = f"`ai config set brains.local.gguf PATH` names a model file; {EXTRA}"
            return BrainStatus(NAME, False, version=version, detail=why, remedy=remedy)
        return BrainStatus(NAME, True, version=version, login="none needed", models=(self._model_name,))

    async def aclose(self) -> None:
        self._closed.set()
        await anyio.to_thread.run_sync(self._close)

    @property
    def _model_name(self) -> str:
        return self._path.stem if self._path else ""

    def _close(self) -> None:
        self._stop.set()
        if self._busy.acquire(timeout=_CLOSE_S):
            try:
                if self._llm is not None:
                    self._llm.close()
                    self._llm = None
            finally:
                self._busy.release()

    def _answer(self, messages: list[dict[str, str]], stop: threading.Event, tell: Any) -> Usage:
        """In a worker thread: one answer, told piece by piece. Raises BrainError."""
        with self._busy:
            if stop.is_set() or self._closed.is_set():
                raise BrainUnavailable(NAME, "it was closed", reason="killed")
            llm = self._load()
            self._stop = stop
            said = ""
            try:
                for chunk in llm.create_chat_completion(messages, stream=True):
                    if stop.is_set():
                        break
                    if text := _text(chunk):
                        said += text
                        tell(text)
            except ValueError as error:  # "Requested tokens (5012) exceed context window of 4096"
                raise BrainRefused(NAME, str(error), remedy="a larger brains.local.context may help") from error
            except RuntimeError as error:  # "llama_decode returned 2": stopped by us; any other number is a failure
                if not stop.is_set():
                    raise BrainUnavailable(NAME, f"llama.cpp failed: {error}", reason="broken") from error
            written = len(llm.tokenize(said.encode("utf-8"), add_bos=False))
            return Usage(input=max(0, llm.n_tokens - written), output=written)

    def _load(self) -> Any:
        """The model, read at the first turn (seconds for a large file)."""
        if self._llm is None:
            llama_cpp = importlib.import_module("llama_cpp")  # 0.5 s; an extra that mypy cannot count on

            log.info("reading %s with %d threads", self._path, self._threads)
            self._muted = llama_cpp.llama_log_callback(lambda *_: None)  # kept, as below: C holds only the address
            llama_cpp.llama_log_set(self._muted, ctypes.c_void_p())
            try:
                # `verbose=False` would point the whole process's stdout and stderr at /dev/null while the file is read.
                with contextlib.redirect_stderr(io.StringIO()):
                    llm = llama_cpp.Llama(
                        str(self._path),
                        n_ctx=self._context,
                        n_threads=self._threads,
                        n_threads_batch=self._threads,
                        verbose=True,
                    )
            except ValueError as error:
                raise BrainUnavailable(
                    NAME, f"{self._path} cannot be read as a model: {error}", reason="broken", remedy="see brains.local.gguf"
                ) from error
            llm.verbose = False
            self._asked = llama_cpp.ggml_abort_callback(lambda _: self._stop.is_set())
            llama_cpp.llama_set_abort_callback(llm.ctx, self._asked, ctypes.c_void_p())
            self._llm = llm
        return self._llm


def _messages(turn: Turn) -> list[dict[str, str]]:
    earlier = [{"role": m.role, "content": m.text} for m in turn.history]
    return [*earlier, {"role": "user", "content": turn.text}]


def _text(chunk: Any) -> str:
    return chunk["choices"][0]["delta"].get("content") or ""


def _version() -> str | None:
    import importlib.metadata  # 20 ms, and only for a status  # noqa: PLC0415

    try:
        return f"llama-cpp-python {importlib.metadata.version('llama-cpp-python')}"
    except importlib.metadata.PackageNotFoundError:
        return None
