"""`llm-config.json`: models by tier, endpoints, and where their keys come from."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from paios.base.errors import BadConfig
from paios.base.types import DOMAINS, TIERS
from paios.config.models import Endpoint, Models, load_models

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SECRET = "sk-thisisasecretofsomelength"
MISTRAL = {"kind": "openai-compatible", "base_url": "https://api.mistral.ai/v1"}


def write(home: Path, *, profiles: dict[str, object] | None = None, **config: object) -> None:
    (home / "llm-config.json").write_text(json.dumps({"version": 1, **config}))
    if profiles is not None:
        path = home / "auth-profiles.json"
        path.write_text(json.dumps({"version": 1, "profiles": profiles}))
        path.chmod(0o600)


def load(home: Path, **env: str) -> Models:
    return load_models(home, env, NOW)


def complaint(home: Path, profiles: dict[str, object] | None = None, **config: object) -> str:
    write(home, profiles=profiles, **config)
    with pytest.raises(BadConfig) as caught:
        load(home)
    return str(caught.value)


def profile(provider: str, **more: object) -> dict[str, object]:
    return {"type": "token", "provider": provider, "access": f"{provider}-key", **more}


def test_without_a_file_the_programs_aliases_apply(tmp_path: Path) -> None:
    models = load(tmp_path)
    assert [models.tiers["claude", tier] for tier in TIERS] == ["haiku", "haiku", "sonnet", "opus", "opus"]
    assert [models.tiers["codex", tier] for tier in TIERS] == [None, "gpt-6-luna", None, None, None]
    assert [models.tiers["gateway", tier] for tier in TIERS] == [None] * 5
    assert models.tiers.get(("librarian", "fast")) is None
    assert models.endpoints == ()


def test_a_tier_keeps_the_defaults_of_the_brains_it_leaves_out(tmp_path: Path) -> None:
    write(tmp_path, tiers={"fast": {"gateway": "openai/gpt-6-luna"}, "deep": {"claude": None}})
    models = load(tmp_path)
    assert models.tiers.get(("gateway", "fast")) == "openai/gpt-6-luna"
    assert models.tiers.get(("claude", "fast")) == "haiku"
    assert models.tiers.get(("codex", "fast")) == "gpt-6-luna"
    assert models.tiers.get(("claude", "deep")) is None
    assert models.tiers.get(("claude", "premium")) == "opus"


def test_without_a_file_each_domain_has_its_default_route(tmp_path: Path) -> None:
    standard = ("claude:standard", "gateway:standard", "codex:standard", "local", "librarian")
    small = ("gateway:instant", "claude:fast", "codex:fast", "local", "librarian")
    assert load(tmp_path).routes == {
        "code": ("codex:standard", "claude:standard", "gateway:standard", "local", "librarian"),
        "creative": ("claude:premium", "gateway:premium", "codex:premium", "local", "librarian"),
        "analysis": ("claude:deep", "gateway:deep", "codex:deep", "local", "librarian"),
        "vision": ("gateway:standard", "claude:standard", "codex:standard"),
        "system": small,
        "schedule": small,
        "search": standard,
        "general": standard,
    }
    assert Models.default().routes == load(tmp_path).routes


def test_a_route_replaces_its_default_and_no_other(tmp_path: Path) -> None:
    write(tmp_path, routes={"code": ["claude:deep", "codex", "echo"], "vision": ["gateway"]})
    routes = load(tmp_path).routes
    assert (routes["code"], routes["vision"]) == (("claude:deep", "codex", "echo"), ("gateway",))
    default = Models.default().routes
    assert list(routes) == list(DOMAINS)
    assert {domain for domain in DOMAINS if routes[domain] != default[domain]} == {"code", "vision"}


def test_a_file_without_routes_keeps_them_all(tmp_path: Path) -> None:
    write(tmp_path, tiers={"fast": {"claude": "haiku"}})
    assert load(tmp_path).routes == Models.default().routes


def test_an_endpoint_gets_the_key_it_names(tmp_path: Path) -> None:
    write(
        tmp_path,
        profiles={"work": profile("whoever")},
        endpoints={
            "a": {**MISTRAL, "key": "env:MISTRAL"},
            "b": {**MISTRAL, "key": "env:UNSET"},
            "c": {"kind": "openai", "key": "profile:work", "models": ["m"]},
        },
    )
    a, b, c = load(tmp_path, MISTRAL="from env").endpoints
    assert a == Endpoint("a", "openai-compatible", MISTRAL["base_url"], "from env", (), "MISTRAL", "env:MISTRAL")
    assert (b.key, b.no_key) == (None, "UNSET is not set")
    assert c == Endpoint("c", "openai", None, "whoever-key", ("m",), "work", "profile:work")


def test_an_endpoint_without_a_key_uses_its_provider_s_profiles(tmp_path: Path) -> None:
    write(
        tmp_path,
        profiles={"m": profile("mistral"), "o": profile("openai"), "x": profile("anthropic", expires_at_ms=1)},
        endpoints={"mistral": MISTRAL, "mine": {"kind": "openai"}, "work": {"kind": "anthropic"}},
    )
    mistral, mine, work = load(tmp_path).endpoints
    assert (mistral.key, mistral.key_from) == ("mistral-key", "m")
    assert (mine.key, mine.key_from) == ("openai-key", "o")
    assert (work.key, work.no_key) == (None, "x expired 1970-01-01 00:00 UTC")


def test_a_vendor_s_key_is_not_sent_to_another_address(tmp_path: Path) -> None:
    proxy = {"kind": "openai", "base_url": "https://proxy.example/v1"}
    write(tmp_path, profiles={"o": profile("openai")}, endpoints={"proxy": proxy})
    assert load(tmp_path).endpoints[0].key is None


def test_keys_are_in_no_repr(tmp_path: Path) -> None:
    write(tmp_path, endpoints={"a": {**MISTRAL, "key": "env:K"}})
    models = load(tmp_path, K=SECRET)
    assert models.endpoints[0].key == SECRET
    assert SECRET not in repr(models)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"version": 2}, "version must be one of 1"),
        ({"endpoint": {}}, "endpoint is not known here; did you mean endpoints?"),
        ({"tiers": {"fsat": {}}}, "tiers.fsat is not known here; did you mean tiers.fast?"),
        ({"tiers": {"fast": {"cladue": "x"}}}, "tiers.fast.cladue is not known here; did you mean tiers.fast.claude?"),
        ({"tiers": {"fast": {"gateway": "gpt"}}}, "tiers.fast.gateway must be endpoint/model"),
        ({"tiers": {"fast": {"claude": ""}}}, "tiers.fast.claude must be a text that is not empty"),
        (
            {"tiers": {"fast": {"gateway": "mistal/x"}}, "endpoints": {"mistral": MISTRAL}},
            "names the endpoint mistal, which does not",
        ),
        ({"tiers": {"fast": {"gateway": "mistal/x"}}, "endpoints": {"mistral": MISTRAL}}, "(did you mean mistral?)"),
        ({"endpoints": {"a": {"kind": "opnai"}}}, "(did you mean openai?)"),
        ({"endpoints": {"a": {}}}, "endpoints.a.kind is missing"),
        ({"endpoints": {"a/b": {"kind": "openai"}}}, "endpoints.a/b: the key must be letters, digits"),
        ({"endpoints": {"a": {"kind": "openai-compatible"}}}, "endpoints.a is openai-compatible and must have a base_url"),
        ({"endpoints": {"a": {"kind": "openai", "base_url": "localhost:1"}}}, "endpoints.a.base_url must be an address"),
        ({"endpoints": {"a": {"kind": "openai", "key": SECRET}}}, "endpoints.a.key must be env:NAME or profile:ID"),
        ({"endpoints": {"a": {"kind": "openai", "key": "profile:me"}}}, "names the profile me, which does not exist"),
        ({"route": {}}, "route is not known here; did you mean routes?"),
        ({"routes": ["claude"]}, "routes must be a table of keys and values"),
        ({"routes": {"code": "claude"}}, "routes.code must be a list"),
        ({"routes": {"code": None}}, "routes.code must be a list"),
        ({"routes": {"code": []}}, "routes.code must be a list of at least one brain"),
        ({"routes": {"cod": ["claude"]}}, "routes.cod: the key must be one of code, "),
        ({"routes": {"cod": ["claude"]}}, "(did you mean code?)"),
        ({"routes": {"code": ["codex", "claud"]}}, "routes.code[1] must be `brain` or `brain:tier`, and brain one of claude, "),
        ({"routes": {"code": ["codex", "claud"]}}, "(did you mean claude?)"),
        ({"routes": {"code": ["claude:fsat"]}}, "routes.code[0] must be `brain` or `brain:tier`, and tier one of instant, "),
        ({"routes": {"code": ["claude:fsat"]}}, "(did you mean fast?)"),
        ({"routes": {"code": ["claude:"]}}, "tier one of instant, fast, standard, deep, premium"),
        ({"routes": {"code": [SECRET]}}, "routes.code[0] must be `brain` or `brain:tier`"),
    ],
)
def test_a_wrong_file_is_explained_and_keys_are_not_quoted(tmp_path: Path, config: dict[str, object], says: str) -> None:
    message = complaint(tmp_path, None, **config)
    assert says in message
    assert SECRET not in message


def test_dangling_references_are_all_listed(tmp_path: Path) -> None:
    message = complaint(
        tmp_path,
        profiles={"mine": profile("openai")},
        tiers={"fast": {"gateway": "a/x"}, "deep": {"gateway": "b/x"}},
        endpoints={"c": {"kind": "openai", "key": "profile:mine2"}, "d": {"kind": "openai", "key": "profile:mine"}},
    )
    assert "3 problems" in message
    assert "endpoints.c.key names the profile mine2, which does not exist; must be one of mine (did you mean mine?)" in message


def test_wrong_routes_are_listed_with_all_other_problems_of_the_file(tmp_path: Path) -> None:
    message = complaint(tmp_path, tiers={"fsat": {}}, routes={"code": ["nobody", "claude:huge"], "art": ["claude"]})
    for key in ("tiers.fsat", "routes.code[0]", "routes.code[1]", "routes.art"):
        assert key in message
    assert "4 problems" in message


def test_a_tier_may_name_what_the_gateway_finds_by_itself(tmp_path: Path) -> None:
    write(tmp_path, tiers={"instant": {"gateway": "ollama/qwen3:4b"}, "deep": {"gateway": "openrouter/qwen/qwen3-coder"}})
    assert load(tmp_path).tiers.get(("gateway", "deep")) == "openrouter/qwen/qwen3-coder"


def test_broken_profiles_are_named_as_such(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "auth-profiles.json").write_text("{")
    with pytest.raises(BadConfig, match=r"auth-profiles\.json: is not JSON"):
        load(tmp_path)
