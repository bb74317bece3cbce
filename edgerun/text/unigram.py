"""Unigram, of SentencePiece (`tokenizer.ggml.model` = t5). Knows no special token.

Characters are replaced by the file's rules, white space becomes U+2581, and of all ways to cut the text into tokens the one
is taken whose scores, logarithms of probabilities, have the largest sum (arXiv:1804.10959; Viterbi's algorithm).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from itertools import compress
from math import inf, isfinite
from typing import Any

from edgerun.text.attributes import NORMAL, UNUSED, USER_DEFINED, having
from edgerun.text.charsmap import KEY, Charsmap
from edgerun.text.fields import PREFIX, flag, numbers, refuse
from edgerun.text.gaps import SPACE, Gaps
from edgerun.text.remember import Remembered
from edgerun.text.vocabulary import Settings, Vocabulary

_PENALTY = 10.0   # a character without a token scores so much less than the worst token
_IS_NORMAL = bytes(bool(value & NORMAL) for value in range(256))
_IS_NONE = bytes(not value & (NORMAL | USER_DEFINED | UNUSED) for value in range(256))   # no text becomes such a token


class Unigram:
    """Text to ids by the most probable way to cut it. warning: what is doubtful about the file, or None."""

    warning: str | None = None

    def __init__(self, metadata: Mapping[str, Any], strict: bool = False):
        """Read the vocabulary, its scores and its rules; raises TokenizerError. strict: sums as SentencePiece has them."""
        self.vocabulary = Vocabulary(metadata, Settings(eos=1, unknown=2, add_eos=True), strict)
        scores = numbers(metadata, "scores", len(self.vocabulary))
        if scores is None:
            refuse(PREFIX + "scores", "is missing")
        if not isfinite(sum(scores)):
            refuse(PREFIX + "scores", "has scores that are not finite")
        unknown = self.vocabulary.specials.unknown
        if unknown is None:
            refuse(PREFIX + "unknown_token_id", "is missing")
        self._file_scores, self._unknown, self._strict = scores, unknown, strict
        self._merges_spaces = flag(metadata, "remove_extra_whitespaces", False)
        self._charsmap = Charsmap(_bytes(metadata))
        self._gaps = Gaps(lambda: self.vocabulary.tokens, joint="")
        self._remembered = Remembered(self._word)

    def readable(self, text: str) -> str:
        """The text as it is: the rules take care of lone surrogates."""
        return text

    def encode(self, text: str, start: bool, out: list[int]) -> None:
        """Append the ids of a text that holds no special token. start: whether the text or a special token begins here."""
        remembered, unknown, normalized = self._remembered, self._unknown, self._normalized(text)
        last = -1
        for word in filter(None, [normalized] if self._strict else self._gaps.split(normalized)):
            ids = remembered[word]
            # A run of unknown characters is one unknown token, in several words too.
            out += ids[1:] if last == unknown and ids[0] == unknown else ids
            last = ids[-1]

    def piece(self, text: str) -> bytes:
        """The bytes that a normal token with this text stands for."""
        return text.replace(SPACE, " ").encode("utf-8", "surrogateescape")

    def _normalized(self, text: str) -> str:
        text = self._charsmap.normalize(text)
        if self._merges_spaces:
            return "".join([SPACE + word for word in text.split(" ") if word])
        words = text.lstrip(" ")
        if words and self.vocabulary.space_prefix:
            text = text[: len(text) - len(words)] + " " + words
        return text.replace(" ", SPACE)

    def _word(self, word: str) -> list[int]:
        """The ids of a word with the largest sum of scores; of equal ones, those whose last token is the longest."""
        count, lengths, scores, id_of = len(word), self._lengths, self._scores, self._ids.get
        sums, ids, begins = [-inf] * count + [-inf], [self._unknown] * (count + 1), [0] * (count + 1)
        sums[0] = self._zero
        for at in range(count):
            so_far, alone = sums[at], False
            for length in lengths:
                end = at + length
                if end > count:
                    break
                token = id_of(word[at:end])
                if token is not None:
                    alone = alone or length == 1
                    if so_far + scores[token] > sums[end]:
                        sums[end], ids[end], begins[end] = so_far + scores[token], token, at
            if not alone and so_far + self._unknown_score > sums[at + 1]:
                sums[at + 1], ids[at + 1], begins[at + 1] = so_far + self._unknown_score, self._unknown, at
        return self._path(ids, begins)

    def _path(self, ids: list[int], begins: list[int]) -> list[int]:
        """The ids on the way to the end, where a run of unknown ones counts as one."""
        path: list[int] = []
        at = len(ids) - 1
        while at > 0:
            if not (path and path[-1] == ids[at] == self._unknown):
                path.append(ids[at])
            at = begins[at]
        return path[::-1]

    @cached_property
    def _ids(self) -> dict[str, int]:
        """The tokens that text may become."""
        vocabulary = self.vocabulary
        left_out = set(compress(vocabulary.tokens, vocabulary.in_file.translate(_IS_NONE))) & vocabulary.ids.keys()
        return {text: token for text, token in vocabulary.ids.items() if text not in left_out} if left_out else vocabulary.ids

    @cached_property
    def _lengths(self) -> list[int]:
        """How long tokens are, in characters: the shortest first."""
        return sorted(set(map(len, self._ids)))

    @cached_property
    def _scores(self) -> list[float]:
        """The score of each token, 0 for those that users have added, so that these are preferred."""
        scores = list(self._file_scores)
        for token in having(USER_DEFINED, self.vocabulary.in_file):
            scores[token] = 0.0
        return [self._zero + score for score in scores] if self._strict else scores

    @cached_property
    def _zero(self) -> float:
        """The sum of no scores. To round each sum to a float32, as SentencePiece does, decides between ways that are equally good."""
        if not self._strict:
            return 0.0
        from numpy import float32

        zero: Any = float32(0.0)
        return zero

    @cached_property
    def _unknown_score(self) -> float:
        worst = min(compress(self._file_scores, self.vocabulary.in_file.translate(_IS_NORMAL)), default=0.0)
        return array("f", (worst - _PENALTY,))[0]   # a float32, as in llama.cpp


def _bytes(metadata: Mapping[str, Any]) -> bytes:
    """The charsmap of a file, empty where it has none; signed or unsigned bytes."""
    values = metadata.get(KEY, [])
    for kind in "Bb" if isinstance(values, (list, tuple)) else "":
        with suppress(TypeError, OverflowError):
            return array(kind, values).tobytes()
    refuse(KEY, "is not a list of bytes")
