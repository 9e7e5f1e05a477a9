"""What every test may ask for. See `paios.testing.scene` for how a model's answers are scripted."""

from __future__ import annotations

import ipaddress
import itertools
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from paios.base.process import Owner, tagged
from paios.testing import homes
from paios.testing.modelserver import ModelServer
from paios.testing.recorders import Asked, Heard
from paios.testing.scene import Scene

_number = itertools.count(1)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def model_server() -> Iterator[ModelServer]:
    with ModelServer() as server:
        yield server


@pytest.fixture
def scene(model_server: ModelServer, request: pytest.FixtureRequest) -> Scene:
    """This test's own scene; `scene.url` for Anthropic, `scene.openai_url` for OpenAI clients."""
    return model_server.scene(f"{next(_number)}-{request.node.name[:60]}")


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """An empty folder to work in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def agent_env(tmp_path: Path, scene: Scene, cwd: Path) -> dict[str, str]:
    """The environment of a person who has `claude`, `codex` and PAIOS installed, all talking to this test's scene."""
    return homes.agent_env(tmp_path, scene, cwd)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    """Who owns the children of the brain under test. None may be left when the test is over."""
    run = tmp_path / "run"
    run.mkdir(mode=0o700, exist_ok=True)
    owner = Owner(run)
    left = []
    try:
        yield owner
        left = tagged(owner.id)
    finally:
        owner.close()
    assert not left, f"child processes were left behind: {left}"


@pytest.fixture
def gate() -> Asked:
    """A gate that allows everything and notes it; `gate.allow = {"read"}` or False narrows it."""
    return Asked()


@pytest.fixture
def events() -> Heard:
    """An `emit` that keeps what it heard."""
    return Heard()


@pytest.fixture(autouse=True, scope="session")
def _loopback_only() -> Iterator[list[str]]:
    """Sockets of this process reach loopback only; a test that tries more sees a refused connection, and the run fails."""
    strayed: list[str] = []
    plain = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex")}

    def guarded(name: str) -> Any:
        def call(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address[0]):
                strayed.append(str(address))
                raise ConnectionRefusedError(f"tests stay on this machine, not {address}")
            return plain[name](self, address)

        return call

    for name in plain:
        setattr(socket.socket, name, guarded(name))
    try:
        yield strayed
    finally:
        for name, method in plain.items():
            setattr(socket.socket, name, method)
    assert not strayed, f"connections outside this machine were tried: {strayed}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
