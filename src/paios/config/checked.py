"""A file's content as frozen dataclasses, or everything that is wrong with it, in words a person can act on.

Strict: no key is ignored and no type is guessed. pydantic finds the problems, this file says them. It knows no file of
ours; the dataclasses it checks against are defined where they are used.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from paios.base.errors import BadConfig

T = TypeVar("T")
_NOWHERE: Mapping[str, str] = {}


class Strict:
    """The base of dataclasses that files are checked against: unknown keys and lenient types are refused."""

    __slots__ = ()
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True, "allow_inf_nan": False}


@dataclass(frozen=True, slots=True)
class Must:
    """Metadata of a field: `test` gets a value of the right type and returns what it must be, or "" if it is so."""

    test: Callable[[Any], str]

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable[[Any], Any]) -> Any:
        from pydantic_core import PydanticCustomError, core_schema  # only a file is worth its import  # noqa: PLC0415

        def run(value: object) -> object:
            if must := self.test(value):
                raise PydanticCustomError("must", "{must}", {"must": must})
            return value

        return core_schema.no_info_after_validator_function(run, handler(source))


def check(
    cls: type[T], data: object, path: Path, *, remedy: str, hide: bool = False, elsewhere: Mapping[str, str] = _NOWHERE
) -> T:
    """
    *data* as a *cls*. With *hide* no value of the file is ever quoted, because it holds secrets. *elsewhere* says of
    unknown dotted keys where they belong, which is then said instead of the nearest valid key.

    Raises:
        BadConfig: names *path* and lists every problem: dotted key, value, what it must be, the nearest valid key.
    """
    from pydantic import TypeAdapter, ValidationError  # 0.1 s, and most starts have no file  # noqa: PLC0415

    # Through JSON, where a strict check takes a list for a tuple, a table for a dataclass and an integer for a float.
    text = json.dumps(data, default=lambda date: {"a date": str(date)})
    try:
        return TypeAdapter(cls).validate_json(text)
    except ValidationError as error:
        found = [_sentence(cls, dict(e), hide, elsewhere) for e in error.errors(include_url=False)]
    raise bad(path, found, remedy=remedy)


def bad(path: Path, problems: Iterable[str], *, remedy: str) -> BadConfig:
    """The error that lists *problems* of the file at *path*, one a line if there are several."""
    listed = list(dict.fromkeys(problems))
    if len(listed) == 1:
        return BadConfig(f"{path}: {listed[0]}", remedy=remedy)
    return BadConfig("\n  ".join([f"{path}: {len(listed)} problems", *listed]), remedy=remedy)


def parse_json(text: str, path: Path, *, remedy: str) -> object:
    """
    The JSON in *text*; a key given twice in one object is an error, not a silent overwrite.

    Raises:
        BadConfig: with line and column.
    """

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        for i, (key, _) in enumerate(pairs):
            if any(key == other for other, _ in pairs[:i]):
                raise bad(path, [f"the key {key!r} is there twice"], remedy=remedy)
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise bad(path, [f"is not JSON: {error.msg} (at line {error.lineno}, column {error.colno})"], remedy=remedy) from error
    except RecursionError as error:
        raise bad(path, ["is nested too deeply"], remedy=remedy) from error


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of *known* that *word* most likely meant, or ""."""
    options = list(known)
    lowered = {o.lower().replace("-", "_"): o for o in options}
    found = difflib.get_close_matches(word.lower().replace("-", "_"), lowered, n=1, cutoff=0.6)
    return lowered[found[0]] if found else ""


def one_of(word: str, known: Iterable[str]) -> str:
    """ "one of a, b, c", with the nearest to *word* named if there is one."""
    options = list(known)
    near = nearest(word, options)
    return f"one of {', '.join(options)}" + (f" (did you mean {near}?)" if near else "")


def dotted(loc: Iterable[str | int]) -> str:
    """`routes.code[1]` of the parts of a key."""
    out = ""
    for part in loc:
        if part == "[key]":
            continue
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


_MUST = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text in quotes",
    "tuple_type": 'a list such as ["a", "b"]',
    "dict_type": "a table of keys and values",
    "dataclass_type": "a table of keys and values",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "string_too_short": "a text that is not empty",
    "must": "{must}",
}


def _sentence(cls: type, error: dict[str, Any], hide: bool, elsewhere: Mapping[str, str]) -> str:
    loc: tuple[str | int, ...] = error["loc"]
    key, value, kind = dotted(loc), error["input"], error["type"]
    if kind == "unexpected_keyword_argument":
        return f"{key} is not known here{f'; {elsewhere[key]}' if key in elsewhere else _instead(cls, loc)}"
    if kind == "missing":
        return f"{key} is missing"
    if kind == "literal_error":
        must = one_of(str(value), [str(a) for a in get_args(_descend(cls, loc))])
    else:
        must = _MUST.get(kind, "").format(**error.get("ctx", {})) or error["msg"]
    if not loc:
        return f"must be {must}"
    if "[key]" in loc:
        return f"{key}: the key must be {must}"
    return f"{key} must be {must}" if hide else f"{key} is {_shown(value)}; must be {must}"


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "…"


def _instead(cls: type, loc: tuple[str | int, ...]) -> str:
    """What was probably meant by an unknown key: a neighbour, else the same name elsewhere, else what there is."""
    here = _descend(cls, loc[:-1])
    names = [f.name for f in fields(here)] if is_dataclass(here) else []
    if near := nearest(str(loc[-1]), names):
        return f"; did you mean {dotted((*loc[:-1], near))}?"
    leaves = {path.rpartition(".")[2]: path for path in _paths(cls)}
    if near := nearest(str(loc[-1]), leaves):
        return f"; did you mean {leaves[near]}?"
    return f"; known are {', '.join(names)}"


def _descend(cls: Any, loc: Iterable[str | int]) -> Any:
    """The type at *loc* inside *cls*, as far as the types tell."""
    here = _bare(cls)
    for part in loc:
        if is_dataclass(here):
            here = _bare(get_type_hints(here, include_extras=True).get(str(part)))
        elif get_origin(here) in (dict, tuple):
            here = _bare(get_args(here)[-1 if get_origin(here) is dict else 0])
    return here


def _bare(hint: Any) -> Any:
    if get_origin(hint) is Annotated:
        return _bare(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return _bare(next(a for a in get_args(hint) if a is not type(None)))
    return hint


def _paths(cls: Any, prefix: str = "") -> Iterator[str]:
    for name, hint in get_type_hints(cls, include_extras=True).items():
        if name.startswith("__"):
            continue
        inner = _bare(hint)
        if is_dataclass(inner):
            yield from _paths(inner, f"{prefix}{name}.")
        elif get_origin(inner) is not Literal:
            yield prefix + name
