from __future__ import annotations

import pytest
from vocabularies import CONTROL, NORMAL, USER_DEFINED, bpe

from edgerun.text import attributes
from edgerun.text.attributes import having
from edgerun.text.tokenizer import Tokenizer, tokenizer_from

FIRST = len(bpe(specials={})["tokenizer.ggml.tokens"])


def tokenizer(*texts: str, kind: int = NORMAL, **more: object) -> Tokenizer:
    """With the default EOS, id 11, out of the way."""
    return tokenizer_from(bpe(specials=dict.fromkeys(("<first>", *texts), kind), **{"eos_token_id": FIRST, **more}))


def ends(of: Tokenizer) -> set[str]:
    return {of.token_text(token) for token in of.eog}


NAMES = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "</s>"),
    *("<|eom_id|>", "<EOT>", "[EOT]"),
    *("<turn|>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "<|return|>", "<|call|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"),
    "[PAD]",
)


@pytest.mark.parametrize("text", NAMES)
def test_names_that_end_a_generation(text: str) -> None:
    of = tokenizer(text)
    assert ends(of) == {"<first>", text}
    assert of.piece(FIRST + 1) == b""   # a control token, whatever the file says
    assert of.encode(f"a{text}", False, parse_special=True)[-1] == FIRST + 1
    assert FIRST + 1 not in of.encode(f"a{text}", False)


@pytest.mark.parametrize("key", ["eot", "eom", "fim_pad", "fim_rep", "fim_sep"])
def test_ids_that_end_a_generation(key: str) -> None:
    assert ends(tokenizer("x<y", **{f"{key}_token_id": FIRST + 1})) == {"<first>", "x<y"}


def test_fill_in_marks_are_control_tokens_but_end_nothing() -> None:
    of = tokenizer("<fim_prefix>", "<fim_suffix>", "<fim_middle>", kind=USER_DEFINED)
    assert ends(of) == {"<first>"}
    assert having(attributes.CONTROL, of._vocabulary.attributes) == [FIRST + 1, FIRST + 2, FIRST + 3]


@pytest.mark.parametrize(
    ("others", "ends_too"),
    [((), True), (("<|return|>",), True), (("<|return|>", "<|call|>"), False), (("<|calls|>", "<|flush|>"), False)],
)
def test_end_is_no_end_in_harmony(others: tuple[str, ...], ends_too: bool) -> None:
    of = tokenizer("<|end|>", *others, kind=CONTROL)
    assert ("<|end|>" in ends(of)) == ends_too
    assert of.piece(FIRST + 1) == (b"" if ends_too else b"<|end|>")


def test_s_is_plain_beside_a_tool_response() -> None:
    of = tokenizer("</s>", "<|tool_response>", kind=CONTROL)
    assert ends(of) == {"<first>", "<|tool_response>"}
    assert of.encode("</s>", False, parse_special=True) == of.encode("</s>", False)


def test_channel_marks_are_shown() -> None:
    of = tokenizer("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>", kind=CONTROL)
    assert of.decode(range(FIRST + 1, FIRST + 5)) == "<|channel|><|message|><|start|><|constrain|>"


def test_the_defaults_of_a_file_that_names_none() -> None:
    of = tokenizer_from(bpe(specials={}))
    assert (of.bos, of.eos) == (11, 11)
    assert tokenizer_from(bpe(pre="glm4")).bos is None
