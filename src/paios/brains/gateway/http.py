"""The gateway's HTTP client, and the one question it asks by itself: which models do you serve?

Proxies and certificates are those of the environment that was handed in, never of this process; what runs on this
machine is never asked through a proxy.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from typing import TYPE_CHECKING

import anyio

from paios.brains.gateway.endpoint import Endpoint

if TYPE_CHECKING:
    import httpx2

log = logging.getLogger(__name__)

CONNECT_S = 5.0
READ_S = 600.0  # between two pieces of an answer; the request's own limit ends it sooner
_DIRECT = ("localhost", "127.0.0.0/8", "::1")


def open_client(env: Mapping[str, str]) -> httpx2.AsyncClient:
    """A client for every endpoint of one brain; it belongs to the event loop it is first used in. Blocks for 0.2 s."""
    import httpx2  # noqa: PLC0415  (0.2 s of CPU)

    verify = _certificates(env)
    limits = httpx2.Limits(max_connections=100, max_keepalive_connections=10)

    def through(proxy: str | None) -> httpx2.AsyncHTTPTransport | None:
        return None if proxy is None else httpx2.AsyncHTTPTransport(proxy=proxy, verify=verify, limits=limits)

    return httpx2.AsyncClient(
        timeout=httpx2.Timeout(READ_S, connect=CONNECT_S),
        limits=limits,
        verify=verify,
        trust_env=False,
        mounts={pattern: through(proxy) for pattern, proxy in proxies(env).items()},
    )


def proxies(env: Mapping[str, str]) -> dict[str, str | None]:
    """URL patterns and the proxy for each, None for none: what the person set, in httpx's words; {} if nothing."""
    found: dict[str, str | None] = {}
    for scheme in ("http", "https", "all"):
        if proxy := env.get(f"{scheme}_proxy") or env.get(f"{scheme}_proxy".upper()):
            found[f"{scheme}://"] = proxy if "://" in proxy else f"http://{proxy}"
    if not found:
        return {}
    for host in (env.get("no_proxy") or env.get("NO_PROXY") or "").split(","):
        name = host.strip()
        if name == "*":
            return {}
        if name:
            found[_pattern(name)] = None
    return found | {_pattern(name): None for name in _DIRECT}


def _pattern(host: str) -> str:
    """`example.org` stands for its subdomains too, `.example.org` for those alone, an address for itself."""
    bare, _, net = host.partition("/")
    if ":" in bare:
        return f"all://[{bare.strip('[]')}]" + (f"/{net}" if net else "")
    if host == "localhost" or bare.replace(".", "").isdigit():
        return f"all://{host}"
    return f"all://*{host.removeprefix('*')}"


def _certificates(env: Mapping[str, str]) -> ssl.SSLContext | bool:
    if cafile := env.get("SSL_CERT_FILE"):
        return ssl.create_default_context(cafile=cafile)
    if capath := env.get("SSL_CERT_DIR"):
        return ssl.create_default_context(capath=capath)
    return True


async def served_models(http: httpx2.AsyncClient, endpoint: Endpoint, limit_s: float) -> tuple[int, tuple[str, ...]]:
    """The HTTP status of the endpoint's list of models, 0 if there was no answer in time, and the names in it."""
    import httpx2  # noqa: PLC0415  (loaded with the client)

    url, headers = _list_of(endpoint)
    try:
        with anyio.fail_after(limit_s):
            answer = await http.get(url, headers=headers)
        found = answer.json() if answer.status_code == 200 else {}
    except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, ValueError) as error:
        log.info("%s: no list of models from %s: %r", endpoint.name, url, error)
        return 0, ()
    rows = (found.get("data") or found.get("models") or []) if isinstance(found, dict) else []
    names = [row.get("id") or row.get("name") for row in rows if isinstance(row, dict)]
    return answer.status_code, tuple(str(name).removeprefix("models/") for name in names if name)


def _list_of(endpoint: Endpoint) -> tuple[str, dict[str, str]]:
    key = endpoint.key or ""
    match endpoint.kind:
        case "anthropic":
            url = endpoint.url.removesuffix("/v1")
            return f"{url}/v1/models", {"x-api-key": key, "anthropic-version": "2023-06-01"}
        case "google":
            return f"{endpoint.url}/v1beta/models", {"x-goog-api-key": key}
        case "ollama":
            return f"{endpoint.url}/api/tags", {"authorization": f"Bearer {key}"} if key else {}
        case "openai" | "openrouter" | "openai-compatible":
            return f"{endpoint.url}/models", {"authorization": f"Bearer {key}"} if key else {}
