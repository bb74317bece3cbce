"""A text cut into words, the pieces that byte-level BPE merges within. Knows no vocabulary; the patterns are data (`families`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from itertools import accumulate, pairwise

from edgerun.text.characters import SETS, shapes, spaces
from edgerun.text.families import FAMILIES, Family, Step, Thousands

Split = Callable[[str], Iterable[str]]


def family(name: str) -> tuple[Family, str | None]:
    """The family of a pre-tokenizer name, and a warning where it is the default for want of a name that is known."""
    for each in FAMILIES:
        if name in each.names.split():
            return each, None
    what = f"names the unknown pre-tokenizer {ascii(name)[:80]}" if name else "names no pre-tokenizer (tokenizer.ggml.pre)"
    return FAMILIES[0], f"the file {what}: text is split by the default rules, which may differ from those the model was trained with"


@cache
def splitter(steps: tuple[Step, ...]) -> Split:
    """A function that cuts a text into its words, none of them empty; they join to the text. Time linear in the text."""
    splits = [_step(step) for step in steps]

    def split(text: str) -> Iterable[str]:
        pieces: Iterable[str] = (text,)
        for each in splits:
            pieces = [word for piece in pieces for word in each(piece) if word]
        return pieces

    return (lambda text: filter(None, splits[0](text))) if len(splits) == 1 else split


def _step(step: Step) -> Split:
    pattern, table = _pattern(step.digits + "+" if isinstance(step, Thousands) else f"({step})")
    cut = pattern.split if isinstance(step, str) else lambda text: _thousands(pattern, text, step.joined)

    def split(text: str) -> Iterable[str]:
        if text.isascii():
            return cut(text)
        ends = accumulate(map(len, cut(text.translate(table()))), initial=0)
        return [text[start:end] for start, end in pairwise(ends)]

    return split


def _pattern(expression: str) -> tuple[re.Pattern[str], Callable[[], str | dict[int, str]]]:
    """The compiled pattern and the table of what it looks at: shapes, or the text itself where it names no class."""
    if r"\p{" not in expression:
        return re.compile(expression, re.ASCII), spaces
    han = r"\p{Han}" in expression
    for name, characters in SETS.items():
        expression = expression.replace(name, characters)
    return re.compile(expression, re.ASCII), lambda: shapes(han)


def _thousands(pattern: re.Pattern[str], text: str, joined: str) -> list[str]:
    """Cut each run of digits into threes from the right; its `joined` end is no cut."""
    cuts = [0]
    for run in pattern.finditer(text):
        start, end = run.span()
        first = start + (end - start) % 3
        cuts += range(first + 3 if first == start else first, end + 1, 3) if joined == "left" else range(first, end, 3)
    return [text[start:end] for start, end in pairwise([*cuts, len(text)])]
