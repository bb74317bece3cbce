from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import CONTROL, NORMAL, USER_DEFINED, bpe

from edgerun.text.partition import Partition
from edgerun.text.vocabulary import Settings, Vocabulary

SPECIALS = {"<a>": CONTROL, "<ab>": CONTROL, ">b<": CONTROL, "b": USER_DEFINED, "aa": USER_DEFINED, "<a><a>": CONTROL, "a>": USER_DEFINED}


def partition(specials: dict[str, int], **more: Any) -> tuple[Partition, Vocabulary]:
    metadata = {**bpe((), specials), **more}
    # The bytes' own tokens would clash with a special of one letter.
    tokens = [f"byte{at}" for at in range(256)] + list(specials)
    vocabulary = Vocabulary({**metadata, "tokenizer.ggml.tokens": tokens}, Settings())
    return Partition(vocabulary, metadata), vocabulary


def shown(parts: list[str | int], vocabulary: Vocabulary) -> list[str]:
    return [part if isinstance(part, str) else f"[{vocabulary.tokens[part]}]" for part in parts]


def naive(text: str, specials: dict[str, int], parse_special: bool) -> list[str]:
    """The definition: each special token in turn, the longest first, cuts each stretch of text at its occurrences from the left."""
    parts: list[tuple[str, bool]] = [(text, False)]
    for special, kind in sorted(specials.items(), key=lambda each: -len(each[0])):
        if kind == CONTROL and not parse_special:
            continue
        cut: list[tuple[str, bool]] = []
        for part, done in parts:
            if done:
                cut.append((part, True))
                continue
            for at, piece in enumerate(part.split(special)):
                cut += [(special, True)] * (at > 0) + [(piece, False)]
        parts = cut
    return [f"[{part}]" if done else part for part, done in parts if part]


@given(st.text("<>ab ", max_size=40), st.booleans())
def test_cuts_are_those_of_the_definition(text: str, parse_special: bool) -> None:
    cutter, vocabulary = partition(SPECIALS)
    assert shown(cutter.cut(text, parse_special), vocabulary) == naive(text, SPECIALS, parse_special)


@given(st.lists(st.sampled_from(["<unused1>", "<unused12>", "<unused", "x", "<", "<unused123><unused3>"]), max_size=12).map("".join))
def test_large_groups_are_cut_the_same(text: str) -> None:
    specials = {f"<unused{n}>": CONTROL for n in range(200)}
    cutter, vocabulary = partition(specials)
    assert shown(cutter.cut(text, True), vocabulary) == naive(text, specials, True)


def test_untrusted_text_holds_no_control_token() -> None:
    cutter, vocabulary = partition({"<a>": CONTROL, "<u>": USER_DEFINED})
    text = "<a><u><a><a>"
    untrusted = bytearray(len(text))
    untrusted[3:9] = b"\1" * 6   # the second <a> lies within, wholly
    assert shown(cutter.cut(text, True, untrusted), vocabulary) == ["[<a>]", "[<u>]", "<a>", "[<a>]"]
    untrusted = bytearray(len(text))
    untrusted[2] = untrusted[9] = 1   # half of one is enough
    assert shown(cutter.cut(text, True, untrusted), vocabulary) == ["<a>", "[<u>]", "[<a>]", "<a>"]


def test_what_the_file_calls_a_control_token_is_one_to_untrusted_text() -> None:
    """llama.cpp makes <|start|> user-defined, which untrusted text must not profit from."""
    cutter, vocabulary = partition({"<|start|>": CONTROL, "<|message|>": NORMAL})
    assert shown(cutter.cut("<|start|>", False), vocabulary) == ["[<|start|>]"]
    assert shown(cutter.cut("<|start|>", True, bytearray(b"\1" * 9)), vocabulary) == ["<|start|>"]


@pytest.mark.parametrize(
    ("more", "text", "expected"),
    [
        ({"general.name": "Phi-3 mini"}, "x <|user|> \n y", ["x ", "[<|user|>]", "y"]),
        ({"general.name": "other"}, "x <|user|> \n y", ["x ", "[<|user|>]", " \n y"]),
        ({"tokenizer.ggml.pre": "jina-v2-de"}, "x \t<mask> y", ["x", "[<mask>]", " y"]),
        ({"general.architecture": "jina-bert-v3"}, " <mask> <mask>", ["[<mask>]", "[<mask>]"]),
        ({"general.name": "modern-bert"}, "x [MASK] ", ["x", "[[MASK]]", " "]),
    ],
)
def test_some_tokens_take_blanks_along(more: dict[str, str], text: str, expected: list[str]) -> None:
    cutter, vocabulary = partition({"<|user|>": CONTROL, "<mask>": CONTROL, "[MASK]": CONTROL}, **more)
    assert shown(cutter.cut(text, True), vocabulary) == expected


LONG = {
    "heads": "<unused" * 30_000,
    "one": "<unused1>" * 30_000,
    "all": "".join(f"<unused{n % 6000}>" for n in range(20_000)),
    "blanks": "  " * 100_000,
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG.keys())
def test_many_special_tokens_are_found_in_linear_time(text: str) -> None:
    specials = {**{f"<unused{n}>": CONTROL for n in range(6000)}, **{" " * n: USER_DEFINED for n in range(1, 32)}}
    cutter, _ = partition(specials)
    cutter.cut("", True)
    began = time.process_time()
    cutter.cut(text, True)
    assert time.process_time() - began < 2
