"""`edgerun compare`: what a smaller model lost. Knows how the command is typed and how to print it; the rest is in `quant.divergence`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerun.cli import options as o
from edgerun.cli import windows as w
from edgerun.cli.complete import models
from edgerun.cli.loading import Warnings, loaded
from edgerun.cli.terminal import stdout
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from edgerun.llm import LLM
    from quant.divergence import Divergence

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
    with loaded(ref_base, context, threads, quiet) as base, loaded(ref, context, threads, quiet, lora=o.lora(lora)) as llm:
        from quant.divergence import compare

        _check_vocabularies(base, llm)
        found = w.cut(base.tokenizer, text, ctx_size, ppl_stride, chunks)
        Warnings(base, quiet).show()
        Warnings(llm, quiet).show()
        positions = w.last("windows:", compare(base.session, llm.session, found), len(found), quiet)
    result = positions.divergence()
    if output == "json":
        facts = {"model": ref, "base": ref_base, "windows": len(found), "window": ctx_size, "stride": ppl_stride, "divergence": dataclasses.asdict(result)}
        stdout().write(json.dumps(facts) + "\n")
    else:
        from quant.histogram import histogram

        stdout().write(_text(result, len(found)) + "\n" + histogram(positions.divergences))
    if picture:
        from quant.histogram import picture as draw

        draw(positions.divergences, f"{ref} against {ref_base}", picture)


def _text(d: Divergence, count: int) -> str:
    lines = {
        "positions": f"{d.rows} in {count} windows",
        "KL divergence": f"{d.mean:.5f} ± {d.mean_error:.5f} nats; median {d.median:.5f}, 99 % below {d.p99:.4f}, most {d.max:.3f}",
        "same top token": f"{100 * d.same_top:.2f} ± {100 * d.same_top_error:.2f} %",
        "perplexity": f"{d.perplexity.value:.4f} ± {d.perplexity.error:.4f}; base {d.reference_perplexity.value:.4f} ± {d.reference_perplexity.error:.4f}",
        "ratio": f"{d.perplexity_ratio:.5f} ± {d.perplexity_ratio_error:.5f}",
    }
    return "".join(f"{name + ':':<16}{value}\n" for name, value in lines.items())


def _check_vocabularies(base: LLM, llm: LLM) -> None:
    """UsageError for models whose predictions are of different tokens."""
    if base.spec.n_vocab != llm.spec.n_vocab or list(base.metadata.strings(TOKENS)) != list(llm.metadata.strings(TOKENS)):
        raise UsageError("the two models have different vocabularies, so their predictions cannot be compared; give a model and what it was made of")


TOKENS = "tokenizer.ggml.tokens"


def _picture(plot: str | None) -> Path | None:
    """Where to draw; errors come before anything is measured."""
    if plot is None:
        return None
    from edgerun.picture import check_picture

    check_picture(Path(plot))
    return Path(plot)
