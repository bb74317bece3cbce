"""Options that several commands share, named as llama.cpp's users know them; each can be set by an EDGERUN_ variable. Knows no command."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from edgerun.cli.complete import models
from edgerun.errors import UsageError

Output = Literal["text", "json", "jsonl"]
Thinking = Literal["show", "hide", "off"]


def _option(*names: str, help: str, metavar: str | None = None, **settings: Any) -> Any:
    """A typer option whose variable is EDGERUN_ and its last name."""
    variable = "EDGERUN_" + names[-1].lstrip("-").replace("-", "_").upper()
    return typer.Option(*names, help=help, metavar=metavar, envvar=variable, show_default=False, **settings)


Model = Annotated[
    str | None,
    _option("-m", "--model", metavar="REF", autocompletion=models, help="A catalogue name, a path, hf:user/repo[:quant] or a URL; default: smollm2:135m."),
]
MaxTokens = Annotated[int | None, _option("-n", "--max-tokens", metavar="N", min=-1, help="End the answer after N tokens; default, or -1: when the model ends it.")]
CtxSize = Annotated[
    int | None, _option("-c", "--ctx-size", metavar="N", min=0, help="Tokens the model can look back on; default, or 0: what it was trained for, at most 8192.")
]
Threads = Annotated[int | None, _option("-t", "--threads", metavar="N", min=1, help="Threads to compute with; default: one for each fast core.")]
Device = Annotated[
    str,
    _option("--device", metavar="D", help="auto, cpu, gpu, or a part of a GPU's name, as edgerun doctor --gpu has it. auto: a GPU where one is faster; else the CPU."),
]
CacheTypeK = Annotated[
    str | None, _option("-ctk", "--cache-type-k", metavar="T", help="Type of the keys in memory: f32, f16, bf16, q8_0 or q4_0; default: f16. q8_0 takes half the memory.")
]
CacheTypeV = Annotated[str | None, _option("-ctv", "--cache-type-v", metavar="T", help="Type of the values in memory; default: the same as of the keys.")]

NoRepack = Annotated[bool, _option("--no-repack", help="Compute from the mapped file: no copy of the weights, a quicker start, fewer tokens per second. CPU only.")]
Lora = Annotated[
    list[str] | None,
    _option("--lora", metavar="FILE[:SCALE]", help="Change the model by this adapter, a GGUF file that edgerun convert made; may be repeated. SCALE: times what it was trained to."),
]

Temp = Annotated[float | None, _option("--temp", metavar="X", min=0.0, help="Temperature: 0 always takes the likeliest token.")]
TopK = Annotated[int | None, _option("--top-k", metavar="N", min=-1, help="Sample from the N likeliest tokens; 0: from all.")]
TopP = Annotated[float | None, _option("--top-p", metavar="X", min=0.0, max=1.0, help="Sample from the likeliest tokens that together have this probability; 1: from all.")]
MinP = Annotated[float | None, _option("--min-p", metavar="X", min=0.0, max=1.0, help="Leave out tokens less probable than X times the likeliest; 0: none.")]
Seed = Annotated[int | None, _option("--seed", metavar="N", min=-1, help="The same seed gives the same answer; default, or -1: another one each time.")]
RepeatPenalty = Annotated[float | None, _option("--repeat-penalty", metavar="X", min=0.0, help="Make tokens that were there less likely; 1: do not.")]
RepeatLastN = Annotated[int | None, _option("--repeat-last-n", metavar="N", min=-1, help="How many tokens the penalties look back on; 0: none, -1: all.")]
PresencePenalty = Annotated[float | None, _option("--presence-penalty", metavar="X", help="Lower the score of tokens that were there; 0: do not.")]
FrequencyPenalty = Annotated[float | None, _option("--frequency-penalty", metavar="X", help="Lower the score of tokens by how often they were there; 0: do not.")]
LogitBias = Annotated[list[str] | None, _option("--logit-bias", metavar="ID+X", help="Add X to the score of token ID, or with ID-inf never take it; may be repeated.")]

Tokenizer = Annotated[
    Literal["default", "strict"],
    _option("--tokenizer", help="default: llama.cpp's token ids; strict: those the model was trained with, where they are known to differ."),
]

System = Annotated[str | None, _option("-sys", "--system", metavar="TEXT", help="What the model is told before the conversation.")]
ChatTemplate = Annotated[
    str | None,
    _option("--chat-template", metavar="FILE|NAME", help="Another chat template than the model's: a Jinja file, one of several in the model file, or a built-in one."),
]
ChatTemplateKwargs = Annotated[str | None, _option("--chat-template-kwargs", metavar="JSON", help="Variables for the chat template, as {\"enable_thinking\": false}.")]
Think = Annotated[
    Thinking | None,
    _option("--think", help="What a model thinks before it answers: show it, hide it, or turn it off where its template can; default: shown on a terminal."),
]
Stop = Annotated[list[str] | None, _option("--stop", metavar="TEXT", help="End the answer before this text; may be repeated.")]
Stats = Annotated[bool, _option("--stats", help="Say on stderr what the answer cost.")]
Quiet = Annotated[bool, _option("-q", "--quiet", help="No progress and no warnings on stderr.")]
OutputFormat = Annotated[Output, _option("-o", "--output", help="text; json: one object; jsonl: one object for each piece as it comes, then one with the figures.")]


def sampling(logit_bias: list[str] | None = None, **options: float | int | None) -> dict[str, Any]:
    """Those of the sampling options that were given; the model's own defaults hold for the others. A seed of -1 is none.

    UsageError for a bias that is not written as ID+X or ID-X.
    """
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None and (name, value) != ("seed", -1)}
    return given | {"logit_bias": dict(map(_bias, logit_bias))} if logit_bias else given


def _bias(text: str) -> tuple[int, float]:
    """llama.cpp's way to write a bias, 123+4.5 or 123-inf, as token id and bias."""
    match = re.fullmatch(r"(\d{1,9})([+-](?:inf|\d+\.?\d*|\.\d+))", text)
    if not match:
        raise UsageError(f"--logit-bias {text[:40]!a} is not a token id with a bias, as 15043+1.5 or 15043-inf")
    return int(match[1]), float(match[2])


def rendering(kwargs: str | None, think: Thinking | None) -> dict[str, Any]:
    """How `LLM.chat` is to use the template, of the options that say so. UsageError when the variables are no JSON object."""
    given: dict[str, Any] = {"think": think == "show"} if think in ("show", "off") else {}
    return given | {"template_kwargs": json_object(kwargs, "--chat-template-kwargs")} if kwargs else given


def json_object(text: str, option: str) -> dict[str, Any]:
    """The object that `text` writes. UsageError, which names the option, when it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UsageError(f'{option} {text[:40]!a} is not a JSON object, as {{"enable_thinking": false}}')
    return value


def lora(given: list[str] | None) -> list[tuple[Path, float]]:
    """The adapters as `edgerun.load` takes them."""
    return [scaled(text, "--lora") for text in given or ()]


def scaled(text: str, option: str) -> tuple[Path, float]:
    """A path, and the number behind its last colon, 1 where there is none. UsageError for a number that is none."""
    path, _, number = text.rpartition(":")
    if not path or re.search(r"[\\/]", number) or Path(text).exists():
        return Path(text), 1.0
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)", number, re.ASCII):
        raise UsageError(f"{option} {text[:80]!a} does not exist, and what is behind its colon is no scale, as in FILE:0.5")
    return Path(path), float(number)


def kv(keys: str | None, values: str | None) -> str:
    """The types of keys and values as `edgerun.load` takes them."""
    keys = keys or "f16"
    return f"{keys}:{values}" if values else keys


def repack(no_repack: bool) -> str:
    """When weights are repacked, as `edgerun.load` takes it: the first token comes before that."""
    return "never" if no_repack else "later"


def limit(max_tokens: int | None) -> int | None:
    """How many tokens at most; None, as -1, for no limit but the context."""
    return None if max_tokens == -1 else max_tokens
