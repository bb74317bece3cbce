"""The texts of `edgerun embed` and `edgerun classify`: arguments, or lines of standard input. Knows nothing of models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from edgerun.cli.prompt import STDIN, argument, read_file
from edgerun.errors import UsageError

Texts = Annotated[list[str] | None, typer.Argument(metavar="TEXT", help="A text; several are one each. - stands for the lines of standard input.")]


def texts(words: Sequence[str] | None) -> list[str]:
    """Every text. UsageError when there is none, or - stands twice."""
    if not words:
        raise UsageError('there is no text; give one in quotes, or - for one on each line of standard input')
    if list(words).count(STDIN) > 1:
        raise UsageError("- can stand for standard input once only")
    return [text for word in words for text in (_lines() if word == STDIN else [argument(word)])]


def _lines() -> list[str]:
    text = read_file(STDIN, "")
    return [line.removesuffix("\r") for line in text.split("\n")] if text else []
