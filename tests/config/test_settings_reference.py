"""Each setting is documented and read, and the page about the files is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from paios.config.credentials import parse_profiles
from paios.config.models import parse_models
from paios.config.settings import catalogue

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "settings.md"
KEYS = [key for key, _, _ in catalogue()]


def test_the_reference_page_is_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("key", KEYS)
def test_a_setting_is_documented(key: str) -> None:
    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(f"| `{key}` |"))
    assert row.split("|")[4].strip().endswith(".")


@pytest.mark.parametrize("key", KEYS)
def test_a_setting_is_read_outside_the_config_room(key: str) -> None:
    name = key.rpartition(".")[2]
    sources = [p for p in (ROOT / "src" / "paios").rglob("*.py") if "config" not in p.relative_to(ROOT).parts]
    assert any(re.search(rf"\.{name}\b", p.read_text(encoding="utf-8")) for p in sources), f"nothing reads {key}"


def test_the_page_s_examples_pass_their_checks() -> None:
    text = PAGE.read_text(encoding="utf-8")
    examples = dict(re.findall(r"^```json (\S+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    profiles = parse_profiles(examples["auth-profiles.json"], Path("auth-profiles.json"))
    models = parse_models(examples["llm-config.json"], Path("llm-config.json"), profiles=profiles)
    assert models.tiers.get(("gateway", "deep")) == "work/claude-sonnet-5-5"
    assert models.routes["code"] == ("claude:deep", "codex", "librarian")


def test_the_how_to_s_example_of_routes_passes_its_check() -> None:
    text = (ROOT / "docs" / "how-to" / "add-a-brain.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```json llm-config\.json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert parse_models(example, Path("llm-config.json"), profiles=None).routes["code"]
