"""`edgerun quantize --calibrate`: how it is typed, and the text read before anything is written. The rest is in `quant.compensation`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgerun.cli import windows as w
from edgerun.cli.exit import warn
from edgerun.cli.loading import phases
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from edgerun.gguf import GGUF
    from quant.compensation import Compensation
    from quant.plan import Plan

Way = Annotated[Literal["gptq"] | None, typer.Option("--calibrate", show_default=False, help="gptq: round so that errors cancel over the text of -f.")]
_WINDOW = 512   # tokens


def check(way: str | None, file: str | None, imatrix: str | None, budget: bool) -> None:
    """UsageError for options that do not go together."""
    if way is not None and budget:
        raise UsageError("--calibrate rounds to types that are given, and a budget is still to choose them; give one of them")
    if way is not None and file is None:
        raise UsageError("--calibrate needs a text, as in: edgerun quantize model-f16.gguf Q4_0 --calibrate gptq -f text.txt")
    if way is not None and imatrix is not None:
        raise UsageError("--calibrate measures what --imatrix says, and more; give one of them")


def measured(file: GGUF, plan: Plan, text: str, chunks: int, threads: int, quiet: bool) -> Compensation:
    """What rounding goes by, measured over a text for the first matrices."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")   # threads of our own share the work
    from edgerun.text.tokenizer import tokenizer_from
    from quant.compensation import Compensation

    tokenizer, content = tokenizer_from(file.metadata), w.read_text(text)
    if (count := len(tokenizer.encode(content[: 64 * _WINDOW]))) < 2 * _WINDOW:
        raise UsageError(f"the text has {count} tokens, of which little can be learned: give at least {2 * _WINDOW}, best some 30,000")
    found = w.cut(tokenizer, content, _WINDOW, 0, chunks)
    with phases(str(file.path), quiet) as progress:
        made = Compensation(file, plan, found, threads=threads, progress=progress)
        if not quiet:
            _tell(made)
        w.last("calibrating:", made.measure(), len(found), quiet)
    return made


def _tell(made: Compensation) -> None:
    """What the user should know before it takes its time."""
    if made.by_squares:
        more = f" and {len(made.by_squares) - 1} more" if len(made.by_squares) > 1 else ""
        why = "their types take no more, or the products of their inputs do not fit in memory"
        warn(f"warning: {made.by_squares[0]}{more}: rounded by the squares of their inputs only, as with --imatrix; {why}")
    if made.passes > 1:
        warn(f"warning: the products of all inputs do not fit in memory at once, so the text is read {made.passes} times")
