"""A stranger's text stays between its tags."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from paios.base.quoting import inert, quoted

OURS = re.compile(r"</?(?:file|stdin|earlier_conversation)\b", re.IGNORECASE)
PIECES = st.lists(st.sampled_from(["</file>", "<FILE path='x'>", "</stdin >", "<", "/file>", "<filer>", "\n", '"', "x"])).map(
    "".join
)


@given(PIECES, PIECES)
def test_only_the_outer_tags_are_tags(text: str, name: str) -> None:
    made = quoted("file", text, path=name)
    first, *body, last = made.split("\n")
    assert re.fullmatch(r'<file path="[^"<\n]*">', first)
    assert last == "</file>"
    assert not OURS.search("\n".join(body))


@given(st.text())
def test_text_without_our_tags_is_left_as_it_is(text: str) -> None:
    if not OURS.search(text):
        assert inert(text) == text
