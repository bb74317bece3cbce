"""A text cut into words, the pieces that byte-level BPE merges within. Knows no vocabulary; the patterns are data (`families`)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from itertools import accumulate, pairwise

from edgerun.text.characters import FINE, SETS, shapes, spaces
from edgerun.text.families import FAMILIES, Family, Step, Thousands

_SEPARATORS = dict.fromkeys(range(0x1C, 0x20), "\1")   # white space to Python, to no one else

Split = Callable[[str], Iterable[str]]


def family(name: str) -> tuple[Family, str | None]:
    """The family of a pre-tokenizer name, and a warning where it is the default for want of a name that is known."""
    for each in FAMILIES:
        if name in each.names.split():
            return each, None
    what = f"names the unknown pre-tokenizer {ascii(name)[:80]}" if name else "names no pre-tokenizer (tokenizer.ggml.pre)"
    return FAMILIES[0], f"the file {what}: text is split by the default rules, which may differ from those the model was trained with"


@cache
def splitter(steps: tuple[Step, ...], strict: bool = False) -> Split:
    """A function that cuts a text into its words, none of them empty; they join to the text. Time linear in the text.

    strict: a set that names no class and holds white space beyond ASCII finds it; in llama.cpp it does not.
    """
    splits = [_step(step, strict) for step in steps]

    def split(text: str) -> Iterable[str]:
        pieces: Iterable[str] = (text,)
        for each in splits:
            pieces = [word for piece in pieces for word in each(piece) if word]
        return pieces

    return (lambda text: filter(None, splits[0](text))) if len(splits) == 1 else split


def _step(step: Step, strict: bool) -> Split:
    pattern, table = _pattern(_run(step) if isinstance(step, Thousands) else f"({step})", strict)
    cut = pattern.split if isinstance(step, str) else lambda text: _thousands(pattern, text, step.joined)

    def split(text: str) -> Iterable[str]:
        if text.isascii() and pattern.flags & re.ASCII:
            return cut(text)
        ends = accumulate(map(len, cut(text.translate(table()))), initial=0)
        return [text[start:end] for start, end in pairwise(ends)]

    return split


def _run(step: Thousands) -> str:
    return rf"(?<!{step.digits}){step.digits}+(?!{step.unless})" if step.unless else step.digits + "+"


def _pattern(expression: str, strict: bool) -> tuple[re.Pattern[str], Callable[[], str | dict[int, str]]]:
    """The compiled pattern and the table of what it looks at: shapes, or the text itself where it names no class."""
    if r"\p{" not in expression:
        return (re.compile(expression), lambda: _SEPARATORS) if strict else (re.compile(expression, re.ASCII), spaces)
    han, fine = r"\p{Han}" in expression, any(name in expression for name in FINE)
    for name, characters in SETS.items():
        expression = expression.replace(name, characters)
    return re.compile(expression, re.ASCII), lambda: shapes(han, fine)


def _thousands(pattern: re.Pattern[str], text: str, joined: str) -> list[str]:
    """Cut each run of digits into threes from the right; its `joined` end is no cut."""
    cuts = [0]
    for run in pattern.finditer(text):
        start, end = run.span()
        first = start + (end - start) % 3
        cuts += sorted({start, *range(first, end + 1, 3)} - {{"left": start, "right": end}.get(joined, -1)})
    return [text[start:end] for start, end in pairwise([*cuts, len(text)])]
