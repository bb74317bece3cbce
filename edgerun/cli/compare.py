"""`edgerun compare`: what a smaller model lost. Knows how the command is typed and how to print it; the rest is in `quant.divergence`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from edgerun.cli import options as o
from edgerun.cli import windows as w
from edgerun.cli.complete import models
from edgerun.cli.lost import lines, side_by_side
from edgerun.cli.terminal import stdout

Ref = Annotated[str, typer.Argument(autocompletion=models, metavar="REF", help="The model to be judged.")]
Base = Annotated[str, typer.Argument(autocompletion=models, metavar="REF_BASE", help="The one it was made of, or should be like.")]
Plot = Annotated[str | None, typer.Option("--plot", metavar="FILE", show_default=False, help="Draw how the divergences lie into a .png, .svg or .pdf (needs matplotlib).")]


def command(
    ref: Ref, ref_base: Base, file: w.File, ctx_size: w.Size = 512, ppl_stride: w.Stride = 0, chunks: w.Chunks = -1,
    threads: o.Threads = None, lora: o.Lora = None, output: w.Output = "text", plot: Plot = None, quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Measure what a smaller model lost.

    Both models read the same windows of a text, side by side, and are compared at each position that is judged: the Kullback-Leibler
    divergence of REF from REF_BASE in nats (0: both predict the same), how often both hold the same token for the likeliest, and the ratio
    of the perplexities. ± is the standard error. Nothing is written to disk. --lora changes REF only.
    """
    text, picture = w.read_text(file), _picture(plot)
    context = ctx_size + ppl_stride // 2
    positions, count = side_by_side(
        ref, ref_base, context, lambda tokenizer: w.cut(tokenizer, text, ctx_size, ppl_stride, chunks), threads, quiet, lora=o.lora(lora)
    )
    result = positions.divergence()
    if output == "json":
        facts = {"model": ref, "base": ref_base, "windows": count, "window": ctx_size, "stride": ppl_stride, "divergence": dataclasses.asdict(result)}
        stdout().write(json.dumps(facts) + "\n")
    else:
        from quant.histogram import histogram

        stdout().write(lines(result, f"{count} windows") + "\n" + histogram(positions.divergences))
    if picture:
        from quant.histogram import picture as draw

        draw(positions.divergences, f"{ref} against {ref_base}", picture)


def _picture(plot: str | None) -> Path | None:
    """Where to draw; errors come before anything is measured."""
    if plot is None:
        return None
    from edgerun.picture import check_picture

    check_picture(Path(plot))
    return Path(plot)
