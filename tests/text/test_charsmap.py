from __future__ import annotations

import contextlib
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import charsmap

from edgerun.errors import TokenizerError
from edgerun.text.charsmap import Charsmap

RULES = {"a": "1", "ab": "2", "abé": "3", "é": "", "x\u0301": "\u1e8b", "\u0301\u0302": "4", "世": "earth", "\n": " "}
CHARSMAP = Charsmap(charsmap(RULES))
LETTERS = "".join(sorted(set("".join(RULES)))) + "z😀"


def plain(text: str) -> str:
    """The same, the slow way."""
    out = ""
    while text:
        key = max((key for key in RULES if text.startswith(key)), key=len, default="")
        out += RULES[key] if key else text[0]
        text = text[len(key) or 1 :]
    return out


@given(st.text(LETTERS, max_size=40))
def test_the_longest_beginning_is_replaced(text: str) -> None:
    assert CHARSMAP.normalize(text) == plain(text)


def test_any_rules() -> None:
    chosen = random.Random(1)
    for _ in range(50):
        rules = {"".join(chosen.choices("abé世\u0301", k=chosen.randint(1, 5))): str(n) for n in range(chosen.randint(1, 12))}
        normalize = Charsmap(charsmap(rules)).normalize
        text = "".join(chosen.choices("abé世\u0301z", k=200))
        out, at = "", 0
        while at < len(text):
            key = max((key for key in rules if text.startswith(key, at)), key=len, default="")
            out += rules[key] if key else text[at]
            at += len(key) or 1
        assert normalize(text) == out


def test_no_rules_leave_the_text_alone_but_for_lone_surrogates() -> None:
    assert Charsmap(b"").normalize("a\0é\n") == "a\0é\n"
    assert Charsmap(b"").normalize("a\udc80\ud800") == "a\ufffd\ufffd"
    assert Charsmap(charsmap({"\ufffd": "x"})).normalize("\ufffd\udc80") == "x\ufffd"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\1", "1 bytes, of which 1 are"),
        (bytes(8), "8 bytes, of which 0 are the array"),
        (b"\3\0\0\0" + bytes(8), "of which 3 are"),
        (b"\xfc\xff\xff\xff" + bytes(8), "of which 4294967292 are"),
        (b"\x08\0\0\0" + bytes(8), "of which 8 are"),
    ],
)
def test_parts_that_do_not_fit_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        Charsmap(data)


def test_a_rule_without_a_replacement_is_refused() -> None:
    good = charsmap({"a": "b" * 256})
    assert Charsmap(good).normalize("a") == "b" * 256
    for bad in (good[:-1], charsmap({"a": "b" * 257})):
        with pytest.raises(TokenizerError, match="replacement at 0 that does not end within 256 bytes"):
            Charsmap(bad).normalize("a")


def test_an_array_that_leads_out_of_itself_is_refused() -> None:
    data = (4).to_bytes(4, "little") + (1 << 30).to_bytes(4, "little") + b"a\0"
    with pytest.raises(TokenizerError, match="leads to node"):
        Charsmap(data).normalize("a")


@given(st.binary(max_size=400), st.text(max_size=20))
def test_any_bytes_normalize_or_are_refused(nodes: bytes, text: str) -> None:
    nodes = nodes[: len(nodes) // 4 * 4] + bytes(1024)
    with contextlib.suppress(TokenizerError):
        Charsmap(len(nodes).to_bytes(4, "little") + nodes + b"\0").normalize(text)


def test_an_array_with_circles_takes_bounded_time() -> None:
    # Every node's children are the same 256, each of which ends a rule: any text has a rule of any length.
    nodes = [at << 10 | 1 << 8 | at for at in range(256)]
    data = b"".join(node.to_bytes(4, "little") for node in nodes)
    began = time.process_time()
    with pytest.raises(TokenizerError, match="1048576 steps to read"):
        Charsmap(len(data).to_bytes(4, "little") + data + b"x\0").normalize("a" * 100_000)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("unit", ["a", "ab", "x\u0301", "\u0301", "z", "\n"], ids=ascii)
def test_time_is_linear(unit: str) -> None:
    began = time.process_time()
    CHARSMAP.normalize(unit * (100_000 // len(unit)))
    assert time.process_time() - began < 2
