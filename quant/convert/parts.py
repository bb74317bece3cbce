"""Parts of a tokenizer.json: found by their type wherever sequences have put them, and checked. Knows no GGUF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from edgerun.errors import TokenizerError
from edgerun.text.fields import shown


def part(value: Any, type: str) -> dict[str, Any]:
    """The first part of this type in a tree of sequences, empty where there is none."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if value.get("type") == type:
                return value
            waiting += [each for inner in value.values() if isinstance(inner, list) for each in inner]
    return {}


def mentions(tokenizer: Mapping[str, Any], type: str) -> bool:
    """Whether anything but the model is of this type."""
    return any(part(tokenizer.get(name), type) for name in ("normalizer", "pre_tokenizer", "decoder", "post_processor"))


def prefixed(tokenizer: Mapping[str, Any]) -> bool:
    """Whether a space is put in front of a text."""
    metaspace = part(tokenizer.get("pre_tokenizer"), "Metaspace") or part(tokenizer.get("normalizer"), "Metaspace")
    if metaspace:
        return metaspace.get("prepend_scheme", "always" if metaspace.get("add_prefix_space", True) else "never") != "never"
    return bool(part(tokenizer.get("normalizer"), "Prepend"))


def items(vocab: Any) -> Iterator[tuple[Any, Any]]:
    """Tokens and ids of a `vocab`, unchecked; raises TokenizerError where it is none."""
    if not isinstance(vocab, dict) or not vocab:
        raise TokenizerError("the vocabulary is missing or no JSON object of tokens and ids")
    return iter(vocab.items())


def merges(values: Any) -> list[str]:
    """Merges as "left right"; in newer files they are pairs, whose parts may hold spaces, which become their letter in GPT-2's alphabet."""
    if not isinstance(values, list):
        raise TokenizerError("the merges are missing or no list")
    found = [" ".join(map(_letter, value)) if isinstance(value, list) and len(value) == 2 else value for value in values]
    for merge in found:
        if not isinstance(merge, str) or merge.count(" ") != 1:
            raise TokenizerError(f"the merge {shown(merge)} is not two tokens")
    return found


def _letter(part: Any) -> str:
    return part.replace(" ", "\u0120") if isinstance(part, str) else " "
