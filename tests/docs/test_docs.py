"""What the documentation says is so: examples are run, links lead somewhere, commands and options exist."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import get_args

import anyio
import click
import pytest
from anyio.streams.text import TextReceiveStream

from paios.base.errors import Reason
from paios.base.types import DOMAINS
from paios.config import files
from paios.config.settings import catalogue
from paios.interfaces.cli.main import COMMANDS, HELP
from paios.testing.scene import Scene

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changes").glob("*.md"), ROOT / "training/README.md"]
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
WITH_EXAMPLES = ["README.md", "docs/tutorial.md", "docs/how-to/choose-who-answers.md", "docs/ar/start.md"]
ALONE = ("echo", "librarian")  # brains that call nobody

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "home").mkdir()
    return {
        "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.defpath)),
        "HOME": str(tmp_path / "home"),
        "LANG": "C.UTF-8",
        "PAIOS_HOME": str(tmp_path / "paios"),
    }


# --- examples ------------------------------------------------------------------------------------------------------

# What differs from run to run: ids, dates and times. Columns are aligned by them, so runs of blanks count as one.
VARYING = (
    (re.compile(r"\b[0-9a-f]{32}\b"), "<trace>"),
    (re.compile(r"\b(th|a|echo|call)-[0-9a-f]{16}\b"), r"<\1>"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:\+00:00)?)?"), "<when>"),
    (re.compile(r"\b[\d,]+ ms\b"), "<ms>"),
    (re.compile(r'"took_ms":\d+'), '"took_ms":<ms>'),
    (re.compile(r"[ \t]+"), " "),
)


def settled(text: str) -> list[str]:
    for varying, name in VARYING:
        text = varying.sub(name, text)
    return [line.strip() for line in text.strip().split("\n")]


def pattern(shown: str) -> re.Pattern[str]:
    """What *shown* stands for: a line of `…` is any lines, `…` within a line whatever is there."""
    out = ""
    for line in settled(shown):
        out += "(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + "\n"
    return re.compile(out)


def steps(block: str) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with the output shown."""
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, shown = step.partition("\n")
        yield command, shown


def test_an_ellipsis_stands_for_what_is_left_out_and_for_nothing_else() -> None:
    shown = pattern("a … z\n…\nend")
    assert shown.fullmatch("a to z\nmore\nand more\nend\n")
    assert shown.fullmatch("a to z\nend\n")
    assert not shown.fullmatch("a to y\nend\n")
    assert not shown.fullmatch("a to z\nend\nand more\n")


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_print_what_the_page_shows(name: str, tmp_path: Path, cwd: Path) -> None:
    env = environment(tmp_path)
    ran = 0
    for info, body in FENCE.findall(read(name)):
        language, _, file = info.partition(" ")
        if file:
            (cwd / file).write_text(body, encoding="utf-8")
        if language != "console":
            continue
        for command, shown in steps(body):
            assert is_alone(command), f"this example could reach a vendor: {command}"
            done = subprocess.run(
                ["sh", "-c", command],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                cwd=cwd,
                env=env,
                timeout=60,
                check=False,
            )
            printed = "\n".join(settled(done.stdout)) + "\n"
            assert pattern(shown).fullmatch(printed), f"$ {command}\n{done.stdout}"
            ran += 1
    assert ran


def is_alone(command: str) -> bool:
    """Whether the command is one that asks no vendor anything."""
    words = command.split()
    if words[:1] != ["ai"]:
        return False
    if words[1] in COMMANDS:
        return words[1] not in ("ask", "brains", "doctor")
    return any(f"--brain {brain}" in command for brain in ALONE)


async def test_the_stream_json_example_goes_as_the_page_shows(tmp_path: Path, cwd: Path) -> None:
    (info, body) = next((i, b) for i, b in FENCE.findall(read("docs/reference/stream-json.md")) if i.startswith("session "))
    command = info.removeprefix("session ").split()
    assert command[0] == "ai"
    assert is_alone(" ".join(command))
    argv = [sys.executable, "-m", "paios", *command[1:]]
    known: dict[str, str] = {}  # the page's approval → this run's
    with anyio.fail_after(60):
        async with await anyio.open_process(argv, cwd=cwd, env=environment(tmp_path)) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            received = lines(TextReceiveStream(process.stdout))
            for line in body.splitlines():
                direction, words = line[0], line[2:]
                if direction == ">":
                    for shown, real in known.items():
                        words = words.replace(shown, real)
                    await process.stdin.send((words + "\n").encode())
                    continue
                assert direction == "<", line
                printed = await anext(received)
                assert pattern(words).fullmatch("\n".join(settled(printed)) + "\n"), f"{line}\n{printed}"
                if approval := re.search(r'"type":"waiting","approval":"([^"]+)"', words):
                    known[approval[1]] = json.loads(printed)["approval"]
            await process.stdin.aclose()
            assert [line async for line in received] == []
    assert known


async def lines(stream: TextReceiveStream) -> AsyncIterator[str]:
    rest = ""
    async for text in stream:
        *whole, rest = (rest + text).split("\n")
        for line in whole:
            yield line


# --- links ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_somewhere(name: str) -> None:
    text = FENCE.sub("", read(name))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (ROOT / name).parent / path if path else ROOT / name
        assert file.exists(), f"{name}: {target}"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{name}: {target}"


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#{1,6} (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        targets = re.findall(r"\]\(([^)#\s]+)", text)
        waiting += [(page.parent / target).resolve() for target in targets if not re.match(r"[a-z]+:", target)]
        waiting += [ROOT / path for path in re.findall(r"\bdocs/[\w/-]+\.md", text) if (ROOT / path).is_file()]
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert {str(page.relative_to(ROOT)) for page in pages - seen} == set()


# --- commands and options ------------------------------------------------------------------------------------------

# `ai …` as it is written: a line of an indented or fenced block, after a pipe, or between backticks.
WRITTEN = re.compile(r"(?:^(?:    |\$ )?|`|\| |\$\()ai ((?:-|@|[a-z]+\b|\")[^`\n|]*)", re.MULTILINE)


def commands_in(text: str) -> list[list[str]]:
    """The words after `ai` wherever a page shows it as a command; quoted text is one word."""
    word = re.compile(r"\"[^\"]*\"?|'[^']*'?|[^\s\"')]+")
    return [word.findall(words.split("  ")[0]) for words in WRITTEN.findall(text)]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_and_option_that_is_named_exists(name: str) -> None:
    text = read(name)
    shown = [m[1] for m in re.finditer(r"^```[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)]
    indented = re.findall(r"^    .*$", text, re.MULTILINE)
    inline = re.findall(r"`[^`\n]+`", FENCE.sub("", text))
    for words in commands_in("\n".join([*shown, *indented, *inline])):
        command, rest = find(words)
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        for word in rest:
            if word.startswith("-") and word not in ("-", "--"):
                assert word in options | {"--help"}, f"{name}: ai {' '.join(words)}"


@pytest.mark.parametrize("name", NAMES)
def test_every_option_and_setting_between_backticks_exists(name: str) -> None:
    commands = [load(command) for command in COMMANDS]
    commands += [inner for group in commands if isinstance(group, click.Group) for inner in group.commands.values()]
    options = {option for command in commands for parameter in command.params for option in parameter.opts}
    options |= {"--help", "--version"}
    keys = {key for key, _, _ in catalogue()}
    for words in re.findall(r"`([^`\n]+)`", FENCE.sub("", read(name))):
        if re.match(r"--?[a-z]", words):
            assert words.split()[0] in options, f"{name}: {words}"
        # `routing.decide` and the like are functions: settings have a group of a brain, or `limits`, before them.
        if re.fullmatch(r"(brains\.[a-z]+|limits|routes)\.[a-z_]+", words):
            assert words in keys or words.removeprefix("routes.") in DOMAINS, f"{name}: {words}"


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_a_page_sets_can_be_set_so(name: str, tmp_path: Path) -> None:
    for key, value in re.findall(r"ai config set ([\w.]+) ('[^'\n]+'|[^\s`]+)", read(name)):
        files.set_value(tmp_path, key, value.strip("'"), dry_run=True)


def find(words: list[str]) -> tuple[click.Command, list[str]]:
    """The command that `ai words` is, and what is left of them."""
    if words[0] in ("--version", "-h", "--help"):
        assert words[0] in HELP
        return click.Command("ai"), []
    if words[0] not in COMMANDS:
        # A task is in quotes or begins with an option; a bare word is meant to be a command.
        assert not re.fullmatch(r"[a-z]+", words[0]) or words[0] in ("ask",), f"there is no command: ai {' '.join(words)}"
        return load("ask"), words
    command, rest = load(words[0]), words[1:]
    while isinstance(command, click.Group) and rest and re.fullmatch(r"[a-z]+", rest[0]):
        assert rest[0] in command.commands, f"there is no command: ai {' '.join(words)}"
        command, rest = command.commands[rest[0]], rest[1:]
    if isinstance(command, click.Group) and "decide" in command.commands:
        command = command.commands["decide"]  # what stands after `ai route` is a text or an option of this one
    return command, rest


def load(name: str) -> click.Command:
    from importlib import import_module

    command = getattr(import_module(f"paios.interfaces.cli.{COMMANDS[name][0]}"), name)
    assert isinstance(command, click.Command)
    return command


# --- the rest ------------------------------------------------------------------------------------------------------


def test_the_rules_for_contributors_stay_short() -> None:
    assert len(read("AGENTS.md").splitlines()) <= 60


def test_each_reason_for_a_missing_brain_has_its_section_in_the_runbook() -> None:
    headings = re.findall(r"^## (\w+)$", read("docs/how-to/fix-a-brain.md"), re.MULTILINE)
    assert [heading for heading in headings if heading in get_args(Reason)] == list(get_args(Reason))


@pytest.mark.real
def test_the_demo_answers_from_the_documents_and_asks_no_vendor(
    tmp_path: Path, agent_env: dict[str, str], scene: Scene
) -> None:
    project = tmp_path / "project"
    (project / "docs").mkdir(parents=True)
    for page in PAGES:
        if page.is_relative_to(ROOT / "docs"):
            (project / page.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
            (project / page.relative_to(ROOT)).write_bytes(page.read_bytes())
    (project / "docs" / "demo.sh").write_text(read("docs/demo.sh"), encoding="utf-8")
    done = subprocess.run(
        ["sh", "docs/demo.sh", str(Path(sys.executable).with_name("ai"))],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=project,
        env=agent_env,
        timeout=110,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = re.split(r'^\$ ai "', done.stdout, flags=re.MULTILINE)[1:]
    assert len(answers) == 5
    assert [bool(re.search(r"^\[1\] docs/.+\.md:\d+", answer, re.MULTILINE)) for answer in answers] == [True] * 4 + [False]
    assert "~/.paios" in answers[0]
    assert "docs/why/gate.md" in answers[1]
    assert "docs/ar/start.md" in answers[2]
    assert "docs/ar/start.md" in answers[3]
    assert "I found nothing about this" in answers[4]
    assert "librarian, attempt 1" in done.stdout
    assert re.search(r"^claude +ready", done.stdout, re.MULTILINE)  # logged in, and yet it was not asked
    assert scene.requests == []
