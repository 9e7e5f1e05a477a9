"""A scripted model server on a free loopback port, good enough for the vendors' own programs and SDKs.

    with ModelServer() as server:
        scene = server.scene("name").says("pong")
        …point ANTHROPIC_BASE_URL at scene.url, OPENAI_BASE_URL at scene.openai_url…

Speaks Anthropic Messages (and count_tokens), OpenAI Responses and Chat Completions, `/v1/models` and Ollama's `/api/tags`.
`python -m paios.testing.modelserver --always "text"` serves until it is stopped and prints its URL, for benches and demos.
Needs starlette and uvicorn, and zstandard for request bodies compressed that way.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import socket
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Self

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from paios.testing.anthropic import MESSAGES
from paios.testing.dialect import Dialect, Frame
from paios.testing.openai import CHAT, RESPONSES
from paios.testing.scene import Answer, Kind, Refusal, Scene, Seen

_START_S = 10.0


class ModelServer:
    """The server, in a thread of its own, while the `with` block lasts."""

    def __init__(
        self, *, port: int = 0, always: str | None = None, delay_s: float = 0.0, chunk_delay_s: float = 0.0, keep: bool = True
    ):
        """*always* answers every scene whose script is used up. *keep* false: requests are not recorded (for long benches)."""
        self._listening = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._always = always
        self._manner = (delay_s, chunk_delay_s)
        self._keep = keep
        self._scenes: dict[str, Scene] = {}
        self._lock = threading.Lock()
        config = uvicorn.Config(
            self._app(), lifespan="off", log_config=None, log_level="critical", access_log=False, timeout_graceful_shutdown=1
        )
        self._server = _Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._listening]}, name="model-server", daemon=True
        )

    def scene(self, name: str = "") -> Scene:
        """The scene of that name, made at first asking. The nameless one sits at the server's root."""
        slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name)
        with self._lock:
            if slug not in self._scenes:
                self._scenes[slug] = scene = Scene(self.url, slug, keep=self._keep)
                if self._always is not None:
                    scene.always(self._always, delay_s=self._manner[0], chunk_delay_s=self._manner[1])
            return self._scenes[slug]

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._server.ready.wait(_START_S):
            raise RuntimeError(f"the model server did not start within {_START_S:g} s")
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self._listening.close()

    def join(self) -> None:
        """Waits until the server is stopped from elsewhere."""
        self._thread.join()

    def _app(self) -> Starlette:
        routes = []
        for prefix in ("/s/{scene}", ""):
            routes += [
                Route(f"{prefix}/v1/messages", self._speak(MESSAGES), methods=["POST"]),
                Route(f"{prefix}/v1/messages/count_tokens", self._count_tokens, methods=["POST"]),
                Route(f"{prefix}/v1/responses", self._speak(RESPONSES), methods=["POST"]),
                Route(f"{prefix}/v1/chat/completions", self._speak(CHAT), methods=["POST"]),
                Route(f"{prefix}/v1/models", self._models),
                Route(f"{prefix}/api/tags", self._tags),
            ]
        methods = ["GET", "POST", "PUT", "DELETE", "HEAD"]
        routes.append(Route("/s/{scene}", self._other, methods=methods))
        routes.append(Route("/s/{scene}/{rest:path}", self._other, methods=methods))
        routes.append(Route("/{rest:path}", self._other, methods=methods))
        return Starlette(routes=routes)

    def _scene_of(self, request: Request) -> Scene:
        return self.scene(request.path_params.get("scene", ""))

    def _speak(self, dialect: Dialect) -> Any:
        async def endpoint(request: Request) -> Any:
            scene = self._scene_of(request)
            body = await _body(request)
            seen = _seen(dialect.kind, request, body)
            seen.lines = tuple(dialect.lines(body))
            seen.tools = tuple(tool.full for tool in dialect.tools(body))
            step = scene.answer(seen)
            if isinstance(step, Refusal):
                return JSONResponse(dialect.error(step), step.status, headers=dict(step.headers))
            return _Play(dialect, step, seen, scene)

        return endpoint

    async def _count_tokens(self, request: Request) -> Response:
        body = await _body(request)
        self._scene_of(request).note(_seen("count_tokens", request, body))
        return JSONResponse({"input_tokens": max(1, len(json.dumps(body)) // 4)})

    async def _models(self, request: Request) -> Response:
        scene = self._scene_of(request)
        scene.note(_seen("models", request, {}))
        made = {"object": "model", "type": "model", "created": 1, "created_at": "2026-01-01T00:00:00Z", "owned_by": "script"}
        data = [{"id": name, "display_name": name, **made} for name in scene.models]
        # `models` is what Codex reads: empty, it keeps to its own table.
        return JSONResponse({"object": "list", "data": data, "has_more": False, "models": []})

    async def _tags(self, request: Request) -> Response:
        scene = self._scene_of(request)
        scene.note(_seen("tags", request, {}))
        rows = [{"name": name, "model": name, "size": 1, "digest": "0", "details": {}} for name in scene.models]
        return JSONResponse({"models": rows})

    async def _other(self, request: Request) -> Response:
        self._scene_of(request).note(_seen("other", request, {}))
        if request.method == "HEAD" or not request.path_params.get("rest"):
            return Response("a scripted model server")
        return JSONResponse({"error": {"type": "not_found_error", "message": f"no route {request.url.path}"}}, 404)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class _Play:
    """A response that follows the script: slow, cut, hanging or broken as it says, and over as soon as the client leaves."""

    def __init__(self, dialect: Dialect, answer: Answer, seen: Seen, scene: Scene) -> None:
        self._dialect = dialect
        self._answer = answer
        self._seen = seen
        self._scene = scene
        self._over = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch, receive, group.cancel_scope)
            await self._play(send)
            self._over = True
            group.cancel_scope.cancel()

    async def _watch(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._seen.left = not self._over
        scope.cancel()

    async def _play(self, send: Send) -> None:
        answer = self._answer
        await self._scene.arrived(answer.after_requests)
        await anyio.sleep(answer.delay_s)
        if answer.ending == "hang" and not answer.blocks:
            await anyio.sleep_forever()
        if self._seen.body.get("stream"):
            await self._stream(send)
        else:
            await self._whole(send)

    async def _stream(self, send: Send) -> None:
        answer = self._answer
        await _begin(send, "text/event-stream", answer)
        for frame in _shown(list(self._dialect.stream(answer, self._seen.body)), answer):
            await send({"type": "http.response.body", "body": frame.text.encode(), "more_body": True})
            if frame.piece:
                await anyio.sleep(answer.chunk_delay_s)
        match answer.ending:
            case "cut":
                return  # uvicorn closes the connection of an answer that was not completed
            case "hang":
                await anyio.sleep_forever()
            case "garbled":
                await send({"type": "http.response.body", "body": b'data: {"type": "no\n\n', "more_body": True})
            case "error":
                last = self._dialect.break_off(Refusal(answer.status, f"scripted {answer.status}", {}, {}))
                await send({"type": "http.response.body", "body": last.text.encode(), "more_body": True})
        self._over = True
        await send({"type": "http.response.body", "body": b""})

    async def _whole(self, send: Send) -> None:
        answer = self._answer
        if answer.ending == "error":
            refusal = Refusal(answer.status, f"scripted {answer.status}", {}, {})
            await JSONResponse(self._dialect.error(refusal), answer.status)({"type": "http"}, _nothing, send)
            return
        body = json.dumps(self._dialect.whole(answer, self._seen.body), ensure_ascii=False).encode()
        await _begin(send, "application/json", answer)
        if answer.ending != "whole":
            await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        if answer.ending == "cut":
            return
        if answer.ending == "hang":
            await anyio.sleep_forever()
        self._over = True
        await send({"type": "http.response.body", "body": body if answer.ending == "whole" else b""})


async def _nothing() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def _begin(send: Send, media_type: str, answer: Answer) -> None:
    named = {"content-type": media_type, "request-id": "req_scripted", **answer.headers}
    headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in named.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


def _shown(frames: Sequence[Frame], answer: Answer) -> Sequence[Frame]:
    """What of the stream is sent: all of it, or up to the last piece that is still to come."""
    if answer.ending == "whole":
        return frames
    places = [i for i, frame in enumerate(frames) if frame.piece]
    if answer.after_chunks is not None:
        places = places[: answer.after_chunks]
    return frames[: places[-1] + 1] if places else frames[:1]


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    encoding = request.headers.get("content-encoding", "")
    if encoding == "zstd":
        import zstandard  # only Codex sends it  # noqa: PLC0415

        raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    elif encoding == "gzip":
        raw = gzip.decompress(raw)
    body = json.loads(raw or b"{}")
    return body if isinstance(body, dict) else {"body": body}


def _seen(kind: Kind, request: Request, body: dict[str, Any]) -> Seen:
    return Seen(kind, request.url.path, dict(request.headers), body, datetime.now(UTC))


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m paios.testing.modelserver", description="A scripted model server.")
    parser.add_argument("--port", type=int, default=0, help="loopback port (default: a free one)")
    parser.add_argument("--always", default="ok", help="what every request is answered with")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before the first byte")
    parser.add_argument("--chunk-delay", type=float, default=0.0, help="seconds after each piece")
    options = parser.parse_args(argv)
    with ModelServer(
        port=options.port, always=options.always, delay_s=options.delay, chunk_delay_s=options.chunk_delay, keep=False
    ) as server:
        sys.stdout.write(server.url + "\n")
        sys.stdout.flush()
        try:
            server.join()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
