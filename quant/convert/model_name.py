"""What the name of a model says: `Qwen2.5-0.5B-Instruct` is a base name, a size and a fine-tune. Knows no file.

The parts and how they are told apart are those of GGUF's naming convention
(https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) and of llama.cpp's converter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_VERSION = re.compile(r"(v|iter)?\d+([.]\d+)*", re.IGNORECASE)
_TYPE = re.compile(r"i?q\d(_\w)*|b?fp?(16|32)", re.IGNORECASE)
_SIZE = re.compile(r"(([A]|\d+[x])?\d+([._]\d+)?[KMBT][\d]?|small|mini|medium|large|x?xl)", re.IGNORECASE)
_TUNE = re.compile(r"chat|instruct|vision|lora", re.IGNORECASE)
_ODD_SIZE = re.compile(r"(.*\d)([A-Za-z])(\d)")   # 7b1
_NO_TITLE = re.compile(r"v\d+(?:\.\d+)*|\d.*")
_LONGEST = 200   # characters


@dataclass(frozen=True)
class ModelName:
    """The parts of a name, None where it has none. basename only where something else is said too: `bert` may be anything."""

    name: str | None = None
    organization: str | None = None
    basename: str | None = None
    size_label: str | None = None
    finetune: str | None = None
    version: str | None = None

    @classmethod
    def parse(cls, text: str, weights: int = 0) -> ModelName:
        """`user/name` or `name`. weights: how many the model has, 0 for unknown: a size far from it is the length of a context."""
        if not text or len(text) > _LONGEST:
            return cls()
        if " " in text:
            return cls(text)
        organization, _, name = text.rpartition("/")
        parts = [_normal(part, at) for at, part in enumerate(filter(None, name.split("-")))]
        kinds = [_kind(part, at, weights) for at, part in enumerate(parts)]
        parts = [part[:-1] + part[-1].lower() if kind == "context" else part for part, kind in zip(parts, kinds, strict=True)]
        if any(kind == "size" and re.search(r"\d", part) for part, kind in zip(parts, kinds, strict=True)):
            kinds = ["" if kind == "size" and part.isalpha() else kind for part, kind in zip(parts, kinds, strict=True)]
        base = _base(parts, kinds)
        rest = list(zip(parts[base:], kinds[base:], strict=True))
        size = "-".join(dict.fromkeys(part for part, kind in rest if kind == "size")) or None
        finetune = "-".join(part for part, kind in rest if kind in ("tune", "context", "")) or None
        version = "-".join(part for part, kind in rest if kind == "version") or None
        basename = "-".join(parts[:base]) or None
        return cls(
            name, organization if organization and not organization.startswith(".") else None, basename if size or finetune or version else None,
            size, finetune, version,
        )  # fmt: skip


def title(text: str) -> str:
    """A name for people: spaces for hyphens, words with a capital, but for acronyms and versions."""
    return " ".join(word.title() if word.islower() and not _NO_TITLE.fullmatch(word) else word for word in text.replace("-", " ").split())


def _normal(part: str, at: int) -> str:
    """A size in its usual form: 7.1B for 7b1."""
    if at and _SIZE.fullmatch(part) and not _VERSION.fullmatch(part):
        part = part.replace("_", ".")
        if odd := _ODD_SIZE.fullmatch(part):
            part = f"{odd[1]}.{odd[3]}{odd[2]}"
        return part[:-1] + part[-1].upper() if len(part) > 1 and part[-2].isdecimal() else part
    return part.upper() if _TYPE.fullmatch(part) else part


def _kind(part: str, at: int, weights: int) -> str:
    if _VERSION.fullmatch(part):
        return "version"
    if _TYPE.fullmatch(part):
        return "type"
    if at and _SIZE.fullmatch(part):
        plain = re.fullmatch(r"(\d+(?:\.\d+)?)([KMBT])", part)
        if weights and plain and abs(float(plain[1]) * 1000 ** " KMBT".index(plain[2]) - weights) > 7 * weights // 8:
            return "context"
        return "size"
    return "tune" if at and _TUNE.fullmatch(part) else ""


def _base(parts: list[str], kinds: list[str]) -> int:
    """How many parts at the start are the base name: words and versions, but for versions at its end."""
    base = 0
    while base < len(parts) and ((not kinds[base] and parts[base][0].isalpha()) or kinds[base] == "version"):
        base += 1
    # Only a version that ends the whole name says which one it is; one before a size belongs to the base name.
    while base == len(parts) and base and kinds[base - 1] == "version":
        base -= 1
        parts, kinds = parts[:base], kinds[:base]
    return base
