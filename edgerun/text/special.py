"""Which tokens have a purpose: begin, end, fill in; and every token that ends a generation. Knows no text but theirs.

A file names some by id and leaves the others to be known by their text. The names and the exceptions are those of
llama.cpp's `llama_vocab::impl::load` (commit 0c1e570).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgerun.text.attributes import CONTROL, NORMAL, USER_DEFINED
from edgerun.text.fields import PREFIX, refuse, token_id

_EOT = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>", "_<EOT>", "[EOT]"),
    *("<\uff5cend\u2581of\u2581sentence\uff5c>", "<end_of_utterance>"),
)
EOG = (
    *(*_EOT, "<|eom_id|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "</s>", "[EOS]", "<eos>", "<turn|>"),
    *("<|tool_response>", "[e~["),
)


def _fim(part: str, deepseek: str, short: str) -> tuple[str, ...]:
    """The names of a mark for filling in: Qwen's and others', DeepSeek's, CodeLlama's."""
    usual = (f"<|fim_{part}|>", f"<fim-{part}>", f"<fim_{part}>")
    return (*usual, f"<\uff5cfim\u2581{deepseek}\uff5c>", f"<{short}>", f"\u2581<{short}>", f"<|code_{part}|>", f"<|{part}|>")


_NAMES = {
    "eot": _EOT,
    "eom": ("<|eom_id|>",),
    "fim_pre": _fim("prefix", "begin", "PRE"),
    "fim_suf": _fim("suffix", "hole", "SUF"),
    "fim_mid": _fim("middle", "end", "MID"),
    "fim_pad": ("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
    "fim_rep": ("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
    "fim_sep": ("<|file_sep|>",),
}
# By which keys a file names them, `tokenizer.ggml.{key}_token_id`; the last one wins. The spelling is the format's.
_KEYS = {
    "bos": ("bos",),
    "eos": ("eos",),
    "eot": ("eot",),
    "eom": ("eom",),
    "unknown": ("unknown",),
    "sep": ("seperator",),
    "pad": ("padding",),
    "mask": ("mask",),
    "fim_pre": ("fim_pre", "prefix"),
    "fim_suf": ("fim_suf", "suffix"),
    "fim_mid": ("fim_mid", "middle"),
    "fim_pad": ("fim_pad",),
    "fim_rep": ("fim_rep",),
    "fim_sep": ("fim_sep",),
}
_VITAL = ("bos", "eos", "eot", "eom")
_NOBODY = (-1, 0xFFFFFFFF)   # some files say "none" so

# Shown though the file calls them control tokens: they shape the answers of gpt-oss.
_SHOWN = ("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>")
_CALLS, _RETURNS = {"<|call|>", "<|calls|>"}, {"<|return|>", "<|flush|>"}   # with one of each, <|end|> ends a message only
_PLAIN_S = {"<|tool_response>", "<|plamo:eos|>"}   # with one of these, </s> is plain text
_S = "</s>"


class Specials:
    """purposes: the id for each purpose (`bos`, `eos`, `fim_pre`, ...) or None. eog: every token that ends a generation."""

    def __init__(
        self,
        metadata: Mapping[str, Any],
        defaults: Mapping[str, int | None],
        tokens: Sequence[str],
        ids: Mapping[str, int],
        attributes: bytearray,
        strict: bool = False,
    ):
        """Marks in `attributes` the tokens that their text shows to be control tokens. defaults: by purpose. Raises TokenizerError.

        strict: what the file calls user-defined stays so, and `</s>` stays what it is: some models have it as plain text.
        """
        kept = USER_DEFINED if strict else 0

        def mark(token: int) -> None:
            if not (attributes[token] & kept or (strict and tokens[token] == _S)):
                attributes[token] |= CONTROL

        self.purposes = {purpose: _named(metadata, purpose, len(tokens), defaults.get(purpose)) for purpose in _KEYS}
        for purpose, names in _NAMES.items():
            if self.purposes[purpose] is None and (found := _known(names, ids)):
                self.purposes[purpose] = found[0]
                mark(found[0])
        self.bos, self.eos, self.sep, self.unknown = (self.purposes[purpose] for purpose in ("bos", "eos", "sep", "unknown"))
        for token in (named := _known(EOG, ids)):
            mark(token)
        self.eog = self._ends(set(named), tokens, ids, attributes)

    def _ends(self, eog: set[int], tokens: Sequence[str], ids: Mapping[str, int], attributes: bytearray) -> frozenset[int]:
        for token in _known(_SHOWN, ids):
            attributes[token] = USER_DEFINED
        purposes = (self.purposes[each] for each in ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep"))
        eog |= {token for token in purposes if token is not None}
        texts = {tokens[token] for token in eog}
        exceptions = [("<|end|>", texts & _CALLS and texts & _RETURNS, USER_DEFINED), (_S, texts & _PLAIN_S, NORMAL)]
        for text, applies, attribute in exceptions:
            if applies and text in texts:
                eog.discard(ids[text])
                attributes[ids[text]] = attribute
        return frozenset(eog)


def _known(names: Iterable[str], ids: Mapping[str, int]) -> list[int]:
    return [ids[name] for name in names if name in ids]


def _named(metadata: Mapping[str, Any], purpose: str, count: int, default: int | None) -> int | None:
    """The id that the file names, else the default. One out of range is an error where it matters, else it is ignored, as by llama.cpp."""
    chosen = default if default is not None and 0 <= default < count else None
    for key in _KEYS[purpose]:
        value = token_id(metadata, key)
        if value is None:
            continue
        if 0 <= value < count:
            chosen = value
        elif purpose in _VITAL and value not in _NOBODY:
            refuse(f"{PREFIX}{key}_token_id", f"is {value} in a vocabulary of {count} tokens")
    return chosen
