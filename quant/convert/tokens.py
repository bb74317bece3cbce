"""The tokens of a vocabulary that is being put together: text, type and score by id. Knows no file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from edgerun.errors import TokenizerError
from edgerun.text.fields import PREFIX, shown
from edgerun.text.gaps import SPACE
from quant.convert.documents import Documents
from quant.convert.sentencepiece_model import CONTROL, UNUSED, USER_DEFINED
from quant.convert.special_tokens import named, text_of, texts_of

Entry = tuple[str, Any, str | None]   # GGUF key, value and the writer's type

MOST = 4_000_000             # tokens
_ADDED, _NOTHING = -1000.0, -10000.0   # scores of tokens that no text is cut into
# Tokens that some models add without saying that they are special (command-r, deepseek-coder, gemma).
_SPECIAL = ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
_ENDS = (("<|", "|>"), ("<\uff5c", "\uff5c>"), ("<unused", ">"))


class Added(NamedTuple):
    """A token beside those that text is cut into."""

    id: int
    text: str
    special: bool


class Tokens:
    """Tokens by id. count: how many there will be, those without a text unused; None for as many as are placed."""

    def __init__(self, count: int | None) -> None:
        self._count = count
        self._placed: dict[int, tuple[str, int, float]] = {}

    def place(self, id: object, text: object, type: int, score: float = 0.0) -> None:
        """Put a token where it belongs; raises TokenizerError for an id that is none."""
        if isinstance(id, bool) or not isinstance(id, int) or not 0 <= id < MOST or not isinstance(text, str):
            raise TokenizerError(f"the token {shown(text)} has the id {shown(id)}; the vocabulary cannot be used")
        self._placed[id] = text, type, score

    def add(self, tokens: Collection[Added], seen: Collection[int] = ()) -> None:
        """Put the tokens of `added` where they belong, but for the ids `seen`. One beyond `count` has no embedding: it is left out."""
        for id, text, special in tokens:
            if (self._count is None or id < self._count) and id not in seen:
                self.place(id, text if special else text.replace(SPACE, " "), CONTROL if special else USER_DEFINED, _ADDED)

    @property
    def lists(self) -> tuple[list[str], list[int], list[float]]:
        """Texts, types and scores by id; raises TokenizerError where an id lies beyond `count`, or two tokens have one text."""
        top = max(self._placed, default=-1) + 1
        count = top if self._count is None else self._count
        if not 0 < top <= count <= MOST:
            raise TokenizerError(f"the vocabulary has {top} tokens, the model {count} embeddings")
        known = [self._placed.get(id) or (f"[PAD{id}]", UNUSED, _NOTHING) for id in range(count)]
        texts, types, scores = (list(column) for column in zip(*known, strict=True))
        if len(set(texts)) < count:
            ((twice, _),) = Counter(texts).most_common(1)
            raise TokenizerError(f"the vocabulary has the token {shown(twice)} twice")
        return texts, types, scores


def entries(texts: list[str], types: list[int], scores: list[float] | None = None) -> Iterator[Entry]:
    """The GGUF keys, values and types of the lists."""
    yield PREFIX + "tokens", texts, "str"
    if scores is not None:
        yield PREFIX + "scores", scores, "f32"
    yield PREFIX + "token_type", types, "i32"


def added(documents: Documents) -> list[Added]:
    """The added tokens of all files by id, each id once: tokenizer_config.json first, then tokenizer.json, then added_tokens.json."""
    config = documents.json("tokenizer_config.json")
    special = set(named(documents).values())
    for values in (config.get("additional_special_tokens"), documents.json("special_tokens_map.json").get("additional_special_tokens")):
        special |= set(texts_of(values)) if isinstance(values, list) else set()
    found: dict[int, Added] = {}
    for id, value in _listed(documents, config):
        text, marked = text_of(value), isinstance(value, dict) and value.get("special") is True
        if text is None or type(id) is not int or not 0 <= id < MOST:
            raise TokenizerError(f"the added token {shown(value)} has no text or the id {shown(id)}")
        found.setdefault(id, Added(id, text, marked or text in special or _looks_special(text)))
    return list(found.values())


def _listed(documents: Documents, config: dict[str, Any]) -> Iterator[tuple[object, object]]:
    decoder = config.get("added_tokens_decoder")
    for key, value in decoder.items() if isinstance(decoder, dict) else ():
        yield int(key) if key.isdecimal() and len(key) < 10 else key, value
    listed = documents.json("tokenizer.json").get("added_tokens")
    for value in listed if isinstance(listed, list) else ():
        yield value.get("id") if isinstance(value, dict) else None, value
    for text, id in documents.json("added_tokens.json").items():
        yield id, text


def _looks_special(text: str) -> bool:
    return text in _SPECIAL or any(text.startswith(start) and text.endswith(end) for start, end in _ENDS)
