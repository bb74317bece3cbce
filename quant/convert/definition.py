"""How a tokenizer.json cuts a text into words: its `pre_tokenizer` as a function. Knows no names of pre-tokenizers.

The types and what they do are those of Hugging Face's `tokenizers` library. The regular expressions are strangers': they are
bounded in size, and in time when they run.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import regex

from edgerun.errors import TokenizerError
from edgerun.text.bpe import ALPHABET

Cut = Callable[[str, float], list[str]]   # (text, seconds that it may take)

_MOST_STEPS = 64
_LONGEST = 20_000   # characters of an expression
_SECONDS = 20.0     # for all texts together
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_RECURSIVE = regex.compile(r"\(\?(?:R|\d|[+-]\d|&|P>)")   # not of Oniguruma, and without an end
_PUNCTUATION = r"[\p{P}$+<=>^`|~]"


class Definition:
    """`cut(text)` gives the words, after ByteLevel in GPT-2's alphabet, which the steps behind it see. source: the JSON, for people. composed: text is made NFC first."""

    def __init__(self, tokenizer: dict[str, Any]) -> None:
        """tokenizer: the content of a tokenizer.json. Raises TokenizerError for what is not known or makes no sense."""
        value = tokenizer.get("pre_tokenizer")
        self.source = json.dumps(value, ensure_ascii=True)[:2000]
        self._cuts = _cuts(value)
        self._seconds = _SECONDS
        self.composed = '"NFC"' in json.dumps(tokenizer.get("normalizer"))

    def cut(self, text: str) -> list[str]:
        """The words of a text, none of them empty."""
        words, start = [text], perf_counter()
        for cut in self._cuts:
            words = [part for word in words for part in cut(word, self._seconds) if part]
        self._seconds = max(self._seconds - (perf_counter() - start), 0.0)
        return words


def letters(word: str) -> str:
    """A word in GPT-2's alphabet: a character for each byte."""
    return codecs.charmap_decode(word.encode(), "strict", ALPHABET)[0]


def _cuts(value: Any, depth: int = 0) -> list[Cut]:
    if value is None:
        return []
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "Sequence" and isinstance(value.get("pretokenizers"), list) and depth < 8:
        cuts = [cut for each in value["pretokenizers"] for cut in _cuts(each, depth + 1)]
        if len(cuts) > _MOST_STEPS:
            raise TokenizerError(f"tokenizer.json: the pre-tokenizer has more than {_MOST_STEPS} steps")
        return cuts
    if kind == "ByteLevel" and not value.get("add_prefix_space"):
        return [*([_splitter(_GPT2, "Isolated", False)] if value.get("use_regex", True) else ()), lambda word, _: [letters(word)]]
    if kind == "Digits":
        return [_splitter(r"\p{N}" if value.get("individual_digits") else r"\p{N}+", "Isolated", False)]
    if kind == "Punctuation":
        return [_splitter(_PUNCTUATION, value.get("behavior", "Isolated"), False)]
    if kind == "Whitespace":
        return [_splitter(r"\w+|[^\w\s]+", "Removed", True)]
    if kind == "WhitespaceSplit":
        return [_splitter(r"\s", "Removed", False)]
    if kind == "Split":
        return [_splitter(_expression(value.get("pattern")), value.get("behavior"), value.get("invert") is True)]
    raise TokenizerError(f"tokenizer.json: the pre-tokenizer {json.dumps(value)[:300]} is not known")


def _expression(pattern: Any) -> str:
    if isinstance(pattern, dict):
        if isinstance(pattern.get("Regex"), str):
            return str(pattern["Regex"])
        if isinstance(pattern.get("String"), str):
            return str(regex.escape(pattern["String"], special_only=True, literal_spaces=True))
    raise TokenizerError("tokenizer.json: a Split of the pre-tokenizer has no pattern")


def _splitter(expression: str, behavior: Any, invert: bool) -> Cut:
    """A function that cuts where `expression` matches, as `behavior` says; invert: what it does not match counts as matches."""
    join = _BEHAVIORS.get(behavior) if isinstance(behavior, str) else None
    if join is None or len(expression) > _LONGEST or _RECURSIVE.search(expression):
        raise TokenizerError(f"tokenizer.json: the pre-tokenizer has the behavior {json.dumps(behavior)[:60]}, or too long or a recursive expression")
    try:
        # Version 1 knows sets within sets; lines end at "$", as for Oniguruma, which these expressions are written for.
        pattern = regex.compile(expression, regex.V1 | regex.MULTILINE)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise TokenizerError(f"tokenizer.json: the expression {ascii(expression)[:200]} is wrong: {error}") from None

    def cut(text: str, seconds: float) -> list[str]:
        try:
            spans = [found.span() for found in pattern.finditer(text, timeout=seconds)]
        except (TimeoutError, MemoryError):
            raise TokenizerError(f"tokenizer.json: the expression {ascii(expression)[:200]} takes too long") from None
        return join(_parts(text, spans, invert))

    return cut


def _parts(text: str, spans: list[tuple[int, int]], invert: bool) -> list[tuple[str, bool]]:
    """What matches and what lies between, in their order, each with whether it counts as a match."""
    parts, at = [], 0
    for start, end in spans:
        if at < start:
            parts.append((text[at:start], invert))
        if start < end:
            parts.append((text[start:end], not invert))
        at = max(at, end)
    return [*parts, (text[at:], invert)] if at < len(text) else parts


def _isolated(parts: Iterable[tuple[str, bool]]) -> list[str]:
    return [text for text, _ in parts]


def _removed(parts: Iterable[tuple[str, bool]]) -> list[str]:
    return [text for text, match in parts if not match]


def _with_previous(parts: Iterable[tuple[str, bool]]) -> list[str]:
    words: list[str] = []
    joined = True
    for text, match in parts:
        if match and not joined:
            words[-1] += text
        else:
            words.append(text)
        joined = match
    return words


def _with_next(parts: Iterable[tuple[str, bool]]) -> list[str]:
    words: list[str] = []
    open_ = False
    for text, match in parts:
        if open_ and not match:
            words[-1] += text
        else:
            words.append(text)
        open_ = match
    return words


def _contiguous(parts: Iterable[tuple[str, bool]]) -> list[str]:
    words: list[str] = []
    last: bool | None = None
    for text, match in parts:
        if match == last:
            words[-1] += text
        else:
            words.append(text)
        last = match
    return words


_BEHAVIORS: dict[str, Callable[[Iterable[tuple[str, bool]]], list[str]]] = {
    "Isolated": _isolated,
    "Removed": _removed,
    "MergedWithPrevious": _with_previous,
    "MergedWithNext": _with_next,
    "Contiguous": _contiguous,
}
