from __future__ import annotations

import time
from typing import Any

import pytest
from vocabularies import bpe

from edgerun.errors import TokenizerError
from edgerun.text.tokenizer import tokenizer_from

COUNT = len(bpe()["tokenizer.ggml.tokens"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": None}, "tokens is missing or empty"),
        ({"tokens": []}, "tokens is missing or empty"),
        ({"tokens": "abc"}, "tokens is not a list of strings"),
        ({"tokens": [1, 2]}, "tokens is not a list of strings"),
        ({"tokens": ["a", "b"]}, f"token_type has {COUNT} entries for 2 tokens"),
        ({"tokens": ["a", "b", "a"], "token_type": None}, "1 tokens with the text of another"),
        ({"token_type": [1]}, "token_type has 1 entries for"),
        ({"token_type": [7] * COUNT}, "not a whole number from 0 to 6"),
        ({"token_type": [-1] * COUNT}, "not a whole number from 0 to 6"),
        ({"token_type": [1.0] * COUNT}, "not a whole number from 0 to 6"),
        ({"token_type": ["1"] * COUNT}, "token_type is not a list of numbers"),
        ({"token_type": 1}, "token_type is not a list of numbers"),
        ({"merges": None}, "merges is missing or empty"),
        ({"merges": ["a b", "ab"]}, "merges has the entry 'ab', which is not two tokens"),
        ({"merges": [b"a b"]}, "merges is not a list of strings"),
        ({"merges": ["a\x1b[2Jb" * 100]}, r"merges has the entry 'a\\x1b\[2Jb.{0,80}, which"),
        ({"bos_token_id": COUNT}, f"bos_token_id is {COUNT} in a vocabulary of {COUNT} tokens"),
        ({"eos_token_id": -7}, "eos_token_id is -7"),
        ({"eot_token_id": 1 << 40}, "eot_token_id is 1099511627776"),
        ({"eos_token_id": "</s>"}, "eos_token_id is '</s>', not a token id"),
        ({"add_bos_token": 1}, "add_bos_token is 1, not true or false"),
        ({"add_space_prefix": "no"}, "add_space_prefix is 'no', not true or false"),
        ({"pre": 5}, "pre is 5, not a string"),
        ({"pre": "glm4", "add_bos_token": True}, "bos_token_id is missing although BOS is to be added"),
    ],
)
def test_a_bad_vocabulary_gives_one_clear_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TokenizerError, match=message) as caught:
        tokenizer_from(bpe(**change))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_ids_that_do_not_matter_may_be_out_of_range() -> None:
    tokenizer = tokenizer_from(bpe(padding_token_id=10**6, mask_token_id=-1, eot_token_id=0xFFFFFFFF))
    assert tokenizer._vocabulary.specials.purposes["pad"] is None


def test_types_are_optional() -> None:
    tokenizer = tokenizer_from(bpe(token_type=None))
    assert tokenizer.decode(tokenizer.encode("hello world")) == "hello world"


def test_an_empty_text_gets_a_name() -> None:
    tokenizer = tokenizer_from(bpe(specials={"": 4, "<x>": 4}))
    assert tokenizer.token_text(tokenizer.n_vocab - 2) == f"[EMPTY_{tokenizer.n_vocab - 2}]"
    assert tokenizer.encode("a<x>", add_special=False)[-1] == tokenizer.n_vocab - 1


def test_a_large_vocabulary_is_read_quickly() -> None:
    pairs = [f"a{n} b{n}" for n in range(280_000)]
    metadata = bpe(merges=pairs, token_type=None, tokens=[f"t{n}" for n in range(150_000)])
    began = time.process_time()
    tokenizer_from(metadata)
    assert time.process_time() - began < 0.5
