"""What the commands that judge models over a text have in common: how the text and its windows are given. Knows no figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from edgerun.cli.prompt import read_file
from edgerun.cli.terminal import status
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from edgerun.text.tokenizer import Tokenizer
    from quant.windows import Window

Step = TypeVar("Step")

File = Annotated[str, typer.Option("-f", "--file", metavar="FILE", help="The text; -: standard input.")]
Size = Annotated[int, typer.Option("-c", "--ctx-size", metavar="N", min=4, help="Tokens of a window, the second half of which is judged.")]
Stride = Annotated[int, typer.Option("--ppl-stride", metavar="N", min=0, show_default=False, help="Begin a window every N tokens and judge its last N predictions, as llama.cpp.")]
Chunks = Annotated[int, typer.Option("--chunks", metavar="N", min=-1, show_default=False, help="The first N windows only; default, 0 or -1: all.")]
Output = Annotated[Literal["text", "json"], typer.Option("-o", "--output", show_default=False, help="text, or json: one object.")]


def cut(tokenizer: Tokenizer, text: str, size: int, stride: int, chunks: int) -> list[Window]:
    """The windows of a text."""
    from quant.windows import windows

    bos = tokenizer.bos if tokenizer.add_bos else None
    return windows(tokenizer.encode(text), size, stride, bos, chunks if chunks > 0 else None)


def read_text(file: str) -> str:
    """The text that is to be judged. UsageError when it cannot be read."""
    text = read_file(file, "text file")
    if not text:
        raise UsageError("the text is empty")
    return text


def last(label: str, steps: Iterable[Step], count: int, quiet: bool) -> Step:
    """The last of `count` steps, one at least, with progress on a terminal."""
    result: Step
    with status(label, 0.0, wanted=not quiet) as advance:
        advance(0, count)
        for done, step in enumerate(steps, 1):
            result = step
            advance(done, count)
    return result
