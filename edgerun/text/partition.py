"""A text cut at its special tokens. Knows nothing of what becomes of the text between them.

The token with the longest text goes first, over the whole text, as in llama.cpp's `tokenizer_st_partition`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any, NamedTuple

from edgerun.text.attributes import CONTROL, SPECIAL, UNKNOWN, USER_DEFINED, having
from edgerun.text.fields import word
from edgerun.text.vocabulary import Vocabulary

_BLANK = " \t\n\v\f\r"
_MASKED_PRE = ("jina-v2-de", "jina-v2-es", "jina-v2-code")
_MASKED_ARCHITECTURES = ("nomic-bert-moe", "jina-bert-v3")
_HEAD = 6   # `<|im_s`, `<unuse`: few differ, and few are in a text
_FEW = 32   # so many are looked for one by one


class _Special(NamedTuple):
    order: int
    text: str
    id: int
    guarded: bool    # never found where specials are not parsed
    in_file: bool    # a control token in the file, whatever llama.cpp makes of it


class Partition:
    """Finds the special tokens of a text. One look at the text for each beginning of a token, one more for each token it holds."""

    def __init__(self, vocabulary: Vocabulary, metadata: Mapping[str, Any], strict: bool = False):
        """metadata: some tokens take the white space beside them along; files do not say which, but names do.

        strict: those that are part of the text, the user-defined ones, do not.
        """
        self._vocabulary = vocabulary
        within = frozenset(having(USER_DEFINED, vocabulary.attributes)) if strict else frozenset()
        self._left, self._right = (greedy - within for greedy in _greedy(vocabulary, metadata))

    def cut(self, text: str, parse_special: bool, untrusted: bytearray | None = None) -> list[str | int]:
        """Stretches of text, none empty, and ids of special tokens, in order.

        Control and unknown tokens are found only with parse_special, user-defined ones always. untrusted, a byte per
        character: where it is 1, no control token is found, not even one that llama.cpp would.
        """
        taken = bytearray(len(text))
        found: list[tuple[int, int, int]] = []
        for special, following in self._candidates(text, parse_special):
            blocked = untrusted if special.guarded or special.in_file else None
            found += self._find(text, special, following, taken, blocked)
        parts: list[str | int] = []
        done = 0
        for start, end, token in sorted(found):
            if start > done:
                parts.append(text[done:start])
            parts.append(token)
            done = end
        if done < len(text):
            parts.append(text[done:])
        return parts

    def _find(
        self, text: str, special: _Special, following: Callable[[int], int], taken: bytearray, blocked: bytearray | None
    ) -> Iterator[tuple[int, int, int]]:
        """(start, end, id) of each occurrence of `special` that is free, the blanks included that it takes along."""
        start = following(0)
        while start >= 0:
            end = start + len(special.text)
            if (clash := taken.rfind(1, start, end)) >= 0:
                free = taken.find(0, clash)
                start = following(free) if free >= 0 else -1
                continue
            if blocked is not None and blocked.find(1, start, end) >= 0:
                start = following(start + 1)
                continue
            while special.id in self._left and start > 0 and text[start - 1] in _BLANK and not taken[start - 1]:
                start -= 1
            while special.id in self._right and end < len(text) and text[end] in _BLANK and not taken[end]:
                end += 1
            taken[start:end] = b"\1" * (end - start)
            yield start, end, special.id
            start = following(end)

    def _candidates(self, text: str, parse_special: bool) -> list[tuple[_Special, Callable[[int], int]]]:
        """The special tokens that are in the text, in the order in which they are looked for.

        With each a function that gives its next occurrence from a position on, or -1.
        """
        candidates: list[tuple[_Special, Callable[[int], int]]] = []
        for head, group in (self._heads if parse_special else self._open_heads).items():
            if head not in text:
                continue
            if len(group) <= _FEW:
                candidates += [(special, partial(text.find, each)) for each, special in group.items() if each in text]
            else:
                candidates += _scan(text, head, group)
        return sorted(candidates, key=lambda candidate: candidate[0].order)

    @cached_property
    def _heads(self) -> dict[str, dict[str, _Special]]:
        """Special tokens by their text, by the beginning of their text."""
        vocabulary = self._vocabulary
        texts = [(vocabulary.tokens[token], token) for token in having(SPECIAL, vocabulary.attributes)]
        texts.sort(key=lambda each: -len(each[0].encode("utf-8", "surrogateescape")))
        heads: dict[str, dict[str, _Special]] = {}
        for order, (text, token) in enumerate(texts):
            guarded = bool(vocabulary.attributes[token] & (CONTROL | UNKNOWN))
            special = _Special(order, text, token, guarded, bool(vocabulary.in_file[token] & CONTROL))
            heads.setdefault(text[:_HEAD], {})[text] = special
        return heads

    @cached_property
    def _open_heads(self) -> dict[str, dict[str, _Special]]:
        """Those that are found even where specials are not parsed."""
        kept = {head: {text: special for text, special in group.items() if not special.guarded} for head, group in self._heads.items()}
        return {head: group for head, group in kept.items() if group}


def _scan(text: str, head: str, group: dict[str, _Special]) -> list[tuple[_Special, Callable[[int], int]]]:
    """The candidates of a large group, found at each occurrence of their common head: one look at the text for all."""
    lengths = {len(each) for each in group}
    places: dict[_Special, list[int]] = {}
    at = text.find(head)
    while at >= 0:
        for special in (group.get(text[at : at + length]) for length in lengths):
            if special:
                places.setdefault(special, []).append(at)
        at = text.find(head, at + 1)
    return [(special, partial(_following, starts)) for special, starts in places.items()]


def _following(starts: list[int], start: int) -> int:
    at = bisect_left(starts, start)
    return starts[at] if at < len(starts) else -1


def _greedy(vocabulary: Vocabulary, metadata: Mapping[str, Any]) -> tuple[frozenset[int], frozenset[int]]:
    """Ids of the tokens that take the blanks at their left and at their right along, by llama.cpp's rules."""

    def of(*texts: str) -> frozenset[int]:
        return frozenset(token for text in texts if (token := vocabulary.id_of(text)) is not None)

    pre, architecture = word(metadata, "tokenizer.ggml.pre"), word(metadata, "general.architecture")
    name = word(metadata, "general.name").lower()
    if any(each in pre for each in _MASKED_PRE) or any(each in architecture for each in _MASKED_ARCHITECTURES):
        return of("<mask>"), frozenset()
    if "phi-3" in name or "phi3" in name:
        special = frozenset(having(SPECIAL, vocabulary.attributes))
        return frozenset(), (special | of("</s>")) - of("<unk>", "<s>", "<|endoftext|>")
    return of("[MASK]") if "modern-bert" in name else frozenset(), frozenset()
