"""Arrays of strings: what is found at once is what is found one by one, and what would mislead it is left to the latter."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.gguf import strings


def packed(texts: list[bytes]) -> bytes:
    return b"".join(struct.pack("<Q", len(text)) + text for text in texts)


@given(st.lists(st.one_of(st.binary(max_size=12), st.text(min_size=1, max_size=6).map(str.encode), st.integers(250, 600).map(lambda n: b"x" * n)), min_size=1, max_size=40))
def test_both_ways_agree(texts: list[bytes]) -> None:
    data = packed(texts)
    want = [text.decode("utf-8", "surrogateescape") for text in texts]
    assert strings.one_by_one(data, 0, len(texts)) == (want, len(data))
    assert strings._at_once(data, len(texts)) in (None, want)


@pytest.mark.parametrize("text", [b"a", b" ", b"\xff", "Ġthe".encode(), b"\xe2\x80", b"y" * 255, b"y" * 256, b"y" * 257, b"y" * 65535])
def test_usual_strings_are_found_at_once(text: bytes) -> None:
    texts = [b"first", text, b"\xc3", b"\x01", text]
    assert strings._at_once(packed(texts), 5) == [t.decode("utf-8", "surrogateescape") for t in texts]
    assert strings.decode(packed(texts * 300), 1500) == [t.decode("utf-8", "surrogateescape") for t in texts * 300]


@pytest.mark.parametrize("text", [b"", b"\0", b"a\0", b"a" + b"\0" * 6, b"\x01" + b"\0" * 7 + b"a", b"\0" * 20, b"z" * 65536])
def test_nothing_misleads(text: bytes) -> None:
    texts = [b"first", text, b"last"]
    assert strings._at_once(packed(texts), 3) in (None, [t.decode() for t in texts])
    assert strings.decode(packed(texts * 400), 1200) == [t.decode() for t in texts * 400]
