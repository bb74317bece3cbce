from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vocabularies import CONTROL, UNUSED, USER_DEFINED, bpe, spm

from edgerun.errors import TokenizerError, UsageError
from edgerun.text.tokenizer import Tokenizer, tokenizer_from

CHAT = {"<s>": CONTROL, "</s>": CONTROL, "<|im_start|>": CONTROL, "<|im_end|>": CONTROL, "<tool>": USER_DEFINED}


def chat(**more: object) -> Tokenizer:
    first = len(bpe()["tokenizer.ggml.tokens"]) - 2
    return tokenizer_from(bpe(specials=CHAT, **{"bos_token_id": first, "eos_token_id": first + 1, "add_bos_token": True, **more}))


TOKENIZER = chat()
BOS, EOS, START, END, TOOL = range(TOKENIZER.n_vocab - 5, TOKENIZER.n_vocab)


def test_what_a_tokenizer_says_of_itself() -> None:
    assert (TOKENIZER.bos, TOKENIZER.eos, TOKENIZER.add_bos, TOKENIZER.add_eos) == (BOS, EOS, True, False)
    assert TOKENIZER.eog == {EOS, END}
    assert TOKENIZER.warning is None
    assert TOKENIZER.token_text(END) == "<|im_end|>"
    assert "default" in (tokenizer_from(bpe(pre="never-heard")).warning or "")


def test_encode_adds_what_the_file_wants() -> None:
    plain = TOKENIZER.encode("hello", add_special=False)
    assert TOKENIZER.encode("hello") == [BOS, *plain]
    assert chat(add_eos_token=True).encode("hello") == [BOS, *plain, EOS]
    assert chat(add_bos_token=False).encode("hello") == plain
    assert TOKENIZER.encode("") == [BOS]
    assert TOKENIZER.encode("", add_special=False) == []


def test_control_tokens_are_text_unless_asked_for() -> None:
    assert END not in TOKENIZER.encode("a<|im_end|>")
    assert TOKENIZER.decode(TOKENIZER.encode("a<|im_end|>", add_special=False)) == "a<|im_end|>"
    assert TOKENIZER.encode("a<|im_end|><tool>", False, parse_special=True)[1:] == [END, TOOL]
    assert TOKENIZER.encode("<tool>", add_special=False) == [TOOL]


def test_a_text_that_begins_with_bos_gets_a_second_one_as_in_llama_cpp() -> None:
    assert TOKENIZER.encode("<s>a", parse_special=True)[:2] == [BOS, BOS]


def test_pieces_hold_control_tokens_in_trusted_text_only() -> None:
    pieces = [("<s><|im_start|>", True), ("<|im_end|><s>hello", False), ("<|im_end|>", True)]
    ids = TOKENIZER.encode_pieces(pieces)
    assert ids == [BOS, START, *TOKENIZER.encode("<|im_end|><s>hello", add_special=False), END]


def test_a_control_token_is_not_made_of_two_sorts_of_text() -> None:
    assert END not in TOKENIZER.encode_pieces([("<|im_", True), ("end|>", False)])
    assert TOKENIZER.encode_pieces([("<|im_", True), ("end|>", True)]) == [BOS, END]


def test_bos_is_there_once() -> None:
    assert TOKENIZER.encode_pieces([("<s>hello", True)]) == TOKENIZER.encode("hello")
    assert TOKENIZER.encode_pieces([("hello", True)]) == TOKENIZER.encode("hello")
    assert TOKENIZER.encode_pieces([("<s>", True)], add_special=False) == [BOS]
    assert TOKENIZER.encode_pieces([("<s>", False)])[1:] == TOKENIZER.encode("<s>", add_special=False)
    assert chat(add_eos_token=True).encode_pieces([("hello", True)])[-1] != EOS
    assert TOKENIZER.encode_pieces([]) == [BOS]


@given(st.lists(st.tuples(st.text("helo wrd世\n", max_size=6), st.booleans()), max_size=8))
def test_where_one_piece_ends_makes_no_difference(pieces: list[tuple[str, bool]]) -> None:
    assert TOKENIZER.encode_pieces(pieces) == TOKENIZER.encode("".join(text for text, _ in pieces))


@given(st.lists(st.sampled_from(["<s>", "<|im_end|>", "hello", " ", "<tool>", "<|im", "_start|>"]), max_size=8))
def test_wholly_trusted_and_wholly_untrusted_pieces_are_as_encode_does_them(texts: list[str]) -> None:
    joined = "".join(texts)
    for trusted in (True, False):
        ids = TOKENIZER.encode_pieces([(text, trusted) for text in texts], add_special=False)
        assert ids == TOKENIZER.encode(joined, False, parse_special=trusted)


def test_pieces_show_control_tokens_on_request() -> None:
    assert TOKENIZER.piece(END) == b""
    assert TOKENIZER.piece(END, special=True) == b"<|im_end|>"
    assert TOKENIZER.piece(TOOL) == b"<tool>"
    assert tokenizer_from(bpe(specials={"x y": UNUSED})).piece(TOKENIZER.n_vocab - 5) == b""


def test_decode_leaves_out_what_encode_added() -> None:
    tokenizer = chat(add_eos_token=True)
    ids = tokenizer.encode("hello<|im_end|>", parse_special=True)
    assert tokenizer.decode(ids) == "hello"
    assert tokenizer.decode(ids, unparse_special=True) == "<s>hello<|im_end|></s>"
    assert tokenizer.decode(ids, remove_special=True, unparse_special=True) == "hello<|im_end|>"


def test_decode_drops_the_space_that_encode_put_in_front() -> None:
    tokenizer = tokenizer_from(spm())
    assert tokenizer.decode(tokenizer.encode("ab", add_special=False)) == "ab"
    # As llama.cpp does: BOS takes the place of the space.
    assert tokenizer.decode(tokenizer.encode("ab")) == " ab"
    assert tokenizer.decode(tokenizer.encode("ab"), remove_special=True) == " ab"


def test_decode_cleans_spaces_where_the_pre_tokenizer_says_so() -> None:
    assert chat(pre="gpt-2").decode(TOKENIZER.encode("a , b")) == "a, b"
    assert chat(pre="smollm").decode(TOKENIZER.encode("a , b")) == "a , b"


@pytest.mark.parametrize("token", [-1, 10**9])
def test_an_id_that_is_no_token_is_refused(token: int) -> None:
    with pytest.raises(UsageError, match="not in the vocabulary"):
        TOKENIZER.decode([token])


@given(st.text(max_size=30))
def test_the_detokenizer_gives_the_joined_pieces(text: str) -> None:
    grown = TOKENIZER.detokenizer()
    assert "".join(map(grown.push, TOKENIZER.encode(text))) + grown.flush() == text
    shown = TOKENIZER.detokenizer(skip_special=False)
    assert shown.push(END) + shown.push(TOOL) == "<|im_end|><tool>"


def test_the_detokenizer_keeps_the_marks_that_are_asked_for() -> None:
    kept = TOKENIZER.detokenizer(keep=["<|im_end|>", "no token"])
    ids = TOKENIZER.encode("a<|im_end|>b<|im_start|>", parse_special=True)
    assert "".join(map(kept.push, ids)) == "a<|im_end|>b"


@pytest.mark.parametrize(
    ("model", "message"),
    [("rwkv", "model is 'rwkv', which edgerun cannot read; known are gpt2"), (None, "model is missing"), (7, "not a string")],
)
def test_an_unknown_kind_is_refused(model: object, message: str) -> None:
    with pytest.raises(TokenizerError, match=message):
        tokenizer_from(bpe(model=model))


def test_a_tokenizer_needs_neither_numpy_nor_regex() -> None:
    code = "import sys, edgerun.text.tokenizer, edgerun.text.bpe, edgerun.text.sentencepiece; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "regex", "numba", "jinja2"} & set(loaded)
