"""An existing OpenClaw: its model providers are used, its file is never touched, its faults are not ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paios.config.models import load_models
from paios.config.openclaw import OpenClaw, Provider, load_openclaw, plain_json

SECRET = "sk-thisisasecretofsomelength"

# The shape of the OpenClaw documentation, JSON5 with comments.
FILE = """\
{
  // written by hand
  gateway: { port: 18789, auth: { token: "${TOKEN}" } },
  models: {
    mode: "merge", /* or
    replace */
    providers: {
      'custom-proxy': {
        baseUrl: "http://localhost:4000/v1", // no api: openai-completions
        apiKey: "LITELLM_KEY",
        models: [ { id: "llama-3.1-8b", input: ["text"], cost: { input: 0, output: 0 }, }, { name: "no id" } ],
      },
      "acme": { baseUrl: 'https://api.acme.example', api: "anthropic-messages", apiKey: "sk-thisisasecretofsomelength" },
      openai: { apiKey: { source: "env", provider: "default", id: "OPENAI_KEY" } },
      dollar: { baseUrl: "http://localhost:1/v1", apiKey: "${SOME_KEY}" },
      vault: { baseUrl: "http://localhost:2/v1", apiKey: { source: "exec", provider: "vault", id: "a/b" } },
      bedrock: { api: "bedrock-converse-stream" },
      odd: 5,
    },
  },
}
"""


def write(home: Path, text: str) -> Path:
    path = home / ".openclaw" / "openclaw.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_no_openclaw_is_nothing(tmp_path: Path) -> None:
    assert load_openclaw(tmp_path) is None


def test_its_providers_are_read_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    assert load_openclaw(tmp_path) == OpenClaw(
        path,
        (
            Provider("custom-proxy", "openai-compatible", "http://localhost:4000/v1", "env:LITELLM_KEY", ("llama-3.1-8b",)),
            Provider("acme", "anthropic", "https://api.acme.example", None, (), SECRET),
            Provider("openai", "openai", None, "env:OPENAI_KEY", ()),
            Provider("dollar", "openai-compatible", "http://localhost:1/v1", "env:SOME_KEY", ()),
            Provider("vault", "openai-compatible", "http://localhost:2/v1", None, ()),
        ),
        notes=(
            "models.providers.vault.apiKey is kept where we cannot read it",
            "models.providers.bedrock speaks bedrock-converse-stream, which the gateway does not",
            "models.providers.odd has neither a baseUrl nor an api",
        ),
    )


def test_they_become_endpoints_and_the_file_stays_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path, FILE)
    before = (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
    models = load_models(tmp_path / "home", {"HOME": str(tmp_path), "LITELLM_KEY": "lk"})
    found = {e.name: (e.key, e.source) for e in models.endpoints}
    assert found["openclaw-custom-proxy"] == ("lk", "openclaw.json")
    assert found["openclaw-acme"] == (SECRET, "openclaw.json")
    assert SECRET not in repr(models)
    assert (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode) == before


def test_a_tier_may_name_one_and_our_own_of_the_same_name_wins(tmp_path: Path) -> None:
    write(tmp_path, FILE)
    home = tmp_path / "home"
    home.mkdir()
    (home / "llm-config.json").write_text(
        '{"version": 1, "tiers": {"fast": {"gateway": "openclaw-acme/m"}},'
        ' "endpoints": {"openclaw-dollar": {"kind": "ollama"}}}'
    )
    models = load_models(home, {"HOME": str(tmp_path)})
    assert models.tiers.get(("gateway", "fast")) == "openclaw-acme/m"
    assert [e.kind for e in models.endpoints if e.name == "openclaw-dollar"] == ["ollama"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "5",
        "{'a': }",
        "{" * 5000,
        '{"models": 5}',
        '{"models": {"providers": [1]}}',
        "\x00",
        '{"a": "unterminated',
    ],
)
def test_a_broken_or_unknown_one_is_reported_and_stops_nothing(tmp_path: Path, text: str) -> None:
    write(tmp_path, text)
    found = load_openclaw(tmp_path)
    assert found is not None
    assert found.providers == ()
    assert bool(found.problem) == (not text.startswith('{"models"'))
    assert load_models(tmp_path / "home", {"HOME": str(tmp_path)}).endpoints == ()


def test_bytes_that_are_no_text_are_reported(tmp_path: Path) -> None:
    write(tmp_path, "").write_bytes(b"\xff\xfe\x00")
    found = load_openclaw(tmp_path)
    assert found is not None
    assert found.problem.startswith("cannot be read")


def test_a_key_in_capitals_is_not_taken_for_a_variable_and_shown(tmp_path: Path) -> None:
    write(tmp_path, '{"models": {"providers": {"a": {"baseUrl": "http://localhost:1", "apiKey": "AKIAIOSFODNN7EXAMPLE"}}}}')
    found = load_openclaw(tmp_path)
    assert found is not None
    assert (found.providers[0].key, found.providers[0].secret) == (None, "AKIAIOSFODNN7EXAMPLE")


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(json_values)
def test_plain_json_stays_what_it_is(value: object) -> None:
    assert json.loads(plain_json(json.dumps(value, indent=1))) == value
    assert json.loads(plain_json(json.dumps(value, ensure_ascii=False))) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{a: 1, /* , } */ b: [1, 2,], }", {"a": 1, "b": [1, 2]}),
        ("""{"url": "http://x//y", 'it\\'s': 'say "hi"'} // end""", {"url": "http://x//y", "it's": 'say "hi"'}),
        ('{"a": "/* no comment */", "b": ",}"}', {"a": "/* no comment */", "b": ",}"}),
        ("{$include: 'x', _a1: true, \"n\": null, neg: -1.5e3}", {"$include": "x", "_a1": True, "n": None, "neg": -1500.0}),
    ],
)
def test_comments_commas_and_bare_keys_are_understood(text: str, value: object) -> None:
    assert json.loads(plain_json(text)) == value
