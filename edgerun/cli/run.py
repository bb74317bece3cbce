"""`edgerun run`: one prompt in, one answer out. Knows how the command is typed; the rest is in `edgerun.api`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerun.cli import options as o
from edgerun.cli.figures import figures
from edgerun.cli.loading import Warnings, default_model, loaded, measure_bandwidth
from edgerun.cli.prompt import gather
from edgerun.cli.terminal import status
from edgerun.cli.writer import writer_for

if TYPE_CHECKING:
    from edgerun.stream import Stream

Words = Annotated[list[str] | None, typer.Argument(metavar="PROMPT", help="The prompt; several words are joined by spaces. - stands for standard input.")]
Prompt = Annotated[str | None, typer.Option("-p", "--prompt", metavar="PROMPT", help="The prompt, or its beginning.")]
File = Annotated[str | None, typer.Option("-f", "--file", metavar="FILE", help="Add the text of this file to the prompt.")]
Raw = Annotated[bool, typer.Option("--raw", envvar="EDGERUN_RAW", show_default=False, help="Continue the prompt as it is: no chat template, no system prompt.")]


def command(
    words: Words = None, prompt: Prompt = None, file: File = None,
    model: o.Model = None, max_tokens: o.MaxTokens = None, ctx_size: o.CtxSize = None, threads: o.Threads = None, device: o.Device = "auto",
    cache_type_k: o.CacheTypeK = None, cache_type_v: o.CacheTypeV = None, lora: o.Lora = None, no_repack: o.NoRepack = False,
    temp: o.Temp = None, top_k: o.TopK = None, top_p: o.TopP = None, min_p: o.MinP = None, seed: o.Seed = None,
    repeat_penalty: o.RepeatPenalty = None, repeat_last_n: o.RepeatLastN = None,
    presence_penalty: o.PresencePenalty = None, frequency_penalty: o.FrequencyPenalty = None,
    logit_bias: o.LogitBias = None,
    tokenizer: o.Tokenizer = "default", chat_template: o.ChatTemplate = None, chat_template_kwargs: o.ChatTemplateKwargs = None, think: o.Think = None,
    system: o.System = None, stop: o.Stop = None, raw: Raw = False,
    stats: o.Stats = False, output: o.OutputFormat = "text", quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Answer one prompt.

    The prompt is put together from -p, the words, -f and, when it is not a terminal, standard input. The answer goes to
    standard output as it is made; what a model thinks before it answers is
    shown on a terminal, dimmed, and left out elsewhere unless --think show is given. Without options it is sampled as the
    model's authors advise, else with --temp 0.8 --top-k 40 --top-p 0.95 --min-p 0.05 and no penalties.
    """
    text = gather(prompt, words or [], file)
    rendering = o.rendering(chat_template_kwargs, think)
    sampling = o.sampling(
        temperature=temp, top_k=top_k, top_p=top_p, min_p=min_p, seed=seed, repeat_penalty=repeat_penalty, repeat_last_n=repeat_last_n,
        presence_penalty=presence_penalty, frequency_penalty=frequency_penalty, logit_bias=logit_bias,
    )  # fmt: skip
    name = model or default_model()
    options: dict[str, Any] = {"kv": o.kv(cache_type_k, cache_type_v), "lora": o.lora(lora), "tokenizer": tokenizer, "chat_template": chat_template, "repack": o.repack(no_repack)}
    with loaded(name, ctx_size, threads, quiet, device=device, **options) as llm, ExitStack() as shown:
        warnings = Warnings(llm, quiet)
        advance = shown.enter_context(status("reading the prompt:", wanted=not quiet))
        limits: dict[str, Any] = {"max_tokens": o.limit(max_tokens), "stop": stop or [], "on_progress": advance}
        messages = [{"role": "system", "content": system}] * bool(system) + [{"role": "user", "content": text}]
        answer: Stream = llm.generate(text, **limits, **sampling) if raw else llm.chat(messages, stream=True, **rendering, **limits, **sampling)
        warnings.show()
        if stats:
            shown.callback(lambda: print(figures(answer.stats), file=sys.stderr))
        writer = writer_for(output, name, think)
        for piece in answer:
            writer.write(piece, piece.kind)
        if stats:
            measure_bandwidth(llm, quiet)
        writer.end(answer.reply)
