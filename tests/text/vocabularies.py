"""Metadata of small vocabularies for tests."""

from __future__ import annotations

from typing import Any

from edgerun.text.bpe import ALPHABET

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
MERGES = (
    *("h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "Ġwor l", "Ġworl d"),
    *("Ġ Ġ", "ĠĠ ĠĠ", "Ã ©", "i n", "in g", "a a", "aa aa"),
)


def bpe(pairs: tuple[str, ...] = MERGES, specials: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    """Byte-level BPE: the 256 bytes, what the pairs to merge make, the special tokens by text and type. more: `tokenizer.ggml.*`."""
    specials = {"<|end|>": CONTROL, "<|start|>": USER_DEFINED} if specials is None else specials
    tokens = [*ALPHABET, *dict.fromkeys(merge.replace(" ", "") for merge in pairs), *specials]
    types = [NORMAL] * (len(tokens) - len(specials)) + list(specials.values())
    fields = {"model": "gpt2", "pre": "gpt-2", "tokens": tokens, "token_type": types, "merges": list(pairs)}
    return {f"tokenizer.ggml.{key}": value for key, value in {**fields, **more}.items() if value is not None}


# BPE on characters, for `bpe(**GEMMA4)`.
GEMMA4 = {
    "model": "gemma4",
    "pre": None,
    "tokens": ["<pad>", "<eos>", "<bos>", *(f"<0x{byte:02X}>" for byte in range(256)), "a", "b", "▁", "▁a", "\n", "\n\n", "a▁"],
    "token_type": [CONTROL] * 3 + [6] * 256 + [1] * 7,
    "merges": ["▁ a", "a ▁"],
    "bos_token_id": 2,
}

PIECES = {"▁": -3.0, "a": -4.0, "b": -4.5, "c": -5.0, "ab": -1.0, "bc": -0.5, "abc": -2.0}
PIECES |= {"▁a": -2.5, "▁ab": -1.5, "▁▁": -6.0, "é": -7.0}


def spm(pieces: dict[str, float] | None = None, specials: dict[str, int] | None = None, **more: Any) -> dict[str, Any]:
    """SentencePiece: <unk>, <s>, </s>, 256 byte tokens, the special tokens by text and type, pieces by text and score."""
    pieces, specials = PIECES if pieces is None else pieces, specials or {}
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *specials, *pieces]
    types = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256 + list(specials.values()) + [NORMAL] * len(pieces)
    scores = [0.0] * (len(tokens) - len(pieces)) + list(pieces.values())
    fields = {"model": "llama", "tokens": tokens, "token_type": types, "scores": scores}
    return {f"tokenizer.ggml.{key}": value for key, value in {**fields, **more}.items() if value is not None}


WORDS = ("▁the", "▁quick", "▁un", "aff", "able", "▁a", "a", "▁e", "▁!", "▁世", "▁界", "▁ß", "▁ᄒ")


def wordpiece(words: tuple[str, ...] = WORDS, **more: Any) -> dict[str, Any]:
    """WordPiece: [PAD], [UNK], [CLS], [SEP], [MASK], then words, where U+2581 begins a word."""
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    ids = {"padding_token_id": 0, "unknown_token_id": 1, "cls_token_id": 2, "seperator_token_id": 3, "mask_token_id": 4}
    fields = {"model": "bert", "tokens": tokens, "token_type": [CONTROL] * 5 + [NORMAL] * len(words), **ids}
    return {f"tokenizer.ggml.{key}": value for key, value in {**fields, **more}.items() if value is not None}


LIKELY = {"▁": -3.0, "a": -4.0, "b": -4.5, "ab": -5.0, "▁a": -3.5, "▁ab": -5.5, "c": -6.0, "bc": -10.0, "é": -7.0, "ﬁ": -7.0, "f": -6.0, "i": -6.0}
RULES = {"\t": " ", "\n": " ", "e\u0301": "é", "ﬁ": "fi", "\u3000": " ", "\u200b": "", "\ufffd": " "}


def unigram(
    pieces: dict[str, float] | None = None, rules: dict[str, str] | None = None, specials: dict[str, int] | None = None, **more: Any
) -> dict[str, Any]:
    """Unigram: <pad>, </s>, <unk>, the special tokens by text and type, pieces by text and score; rules of the charsmap."""
    pieces, specials = LIKELY if pieces is None else pieces, specials or {}
    tokens = ["<pad>", "</s>", "<unk>", *specials, *pieces]
    types = [CONTROL, CONTROL, UNKNOWN, *specials.values()] + [NORMAL] * len(pieces)
    scores = [0.0] * (len(tokens) - len(pieces)) + list(pieces.values())
    fields = {"model": "t5", "tokens": tokens, "token_type": types, "scores": scores, "add_space_prefix": True, "remove_extra_whitespaces": True}
    fields["precompiled_charsmap"] = list(charsmap(RULES if rules is None else rules)) or None
    return {f"tokenizer.ggml.{key}": value for key, value in {**fields, **more}.items() if value is not None}


def charsmap(rules: dict[str, str]) -> bytes:
    """A charsmap in which the children of each node have 256 places for themselves."""
    if not rules:
        return b""
    trie: dict[int, Any] = {}
    replacements = bytearray()
    for key, value in rules.items():
        node = trie
        for byte in key.encode():
            node = node.setdefault(byte, {})
        node[0] = len(replacements)
        replacements += value.encode() + b"\0"
    nodes = [0] * 256

    def place(at: int, label: int, node: dict[int, Any]) -> None:
        block = len(nodes)
        nodes.extend([0] * 256)
        base = at ^ block
        assert base < 1 << 21
        nodes[at] = base << 10 | (0 in node) << 8 | label
        for byte, child in sorted(node.items()):
            if byte:
                place(block + byte, byte, child)
            else:
                nodes[block] = 1 << 31 | child

    place(0, 0, trie)
    data = b"".join(node.to_bytes(4, "little") for node in nodes)
    return len(data).to_bytes(4, "little") + data + bytes(replacements)
