"""`edgerun perplexity`: how well a model predicts a text. Knows how the command is typed; the rest is in `quant.perplexity`."""

from __future__ import annotations

import dataclasses
import json

from edgerun.cli import options as o
from edgerun.cli import windows as w
from edgerun.cli.loading import Warnings, default_model, loaded
from edgerun.cli.terminal import stdout


def command(
    file: w.File, model: o.Model = None, ctx_size: w.Size = 512, ppl_stride: w.Stride = 0, chunks: w.Chunks = -1,
    threads: o.Threads = None, device: o.Device = "auto", cache_type_k: o.CacheTypeK = None, cache_type_v: o.CacheTypeV = None, lora: o.Lora = None,
    output: w.Output = "text", quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Measure how well a model predicts a text.

    The text is cut into windows as llama-perplexity does it, so the figures compare: windows lie end to end, BOS is the first token of each
    where the model wants one, and the second half of each is judged. Lower is better; only figures over the same text and windows, of
    models with the same vocabulary, say something about each other.
    """
    text, name = w.read_text(file), model or default_model()
    with loaded(name, ctx_size + ppl_stride // 2, threads, quiet, device=device, kv=o.kv(cache_type_k, cache_type_v), lora=o.lora(lora)) as llm:
        from quant.perplexity import perplexity

        found = w.cut(llm.tokenizer, text, ctx_size, ppl_stride, chunks)
        Warnings(llm, quiet).show()
        result = w.last("windows:", perplexity(llm.session, found), len(found), quiet)
    if output == "json":
        facts = {"model": name, "windows": len(found), "window": ctx_size, "stride": ppl_stride, "perplexity": dataclasses.asdict(result)}
        stdout().write(json.dumps(facts) + "\n")
    else:
        stdout().write(f"perplexity {result.value:.4f} ± {result.error:.4f} over {result.tokens} tokens in {len(found)} windows\n")
