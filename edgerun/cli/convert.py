"""`edgerun convert`: a checkpoint folder becomes a model file. Knows how the command is typed; the rest is in `quant.convert`."""

from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgerun.cli import options as o
from edgerun.cli.clean import clean
from edgerun.cli.exit import warn
from edgerun.cli.instead import tell as tell_instead
from edgerun.cli.source import checkpoint_folder, tell_left_out
from edgerun.cli.table import size, table
from edgerun.cli.target import Force, refuse_existing, resumable
from edgerun.cli.terminal import status, stdout
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from quant.convert import Plan

Source = Annotated[
    str, typer.Argument(metavar="SRC", help="A folder with config.json, *.safetensors and the tokenizer's files, or hf:user/repo; or a folder that PEFT saved a LoRA in."),
]
Out = Annotated[Path | None, typer.Argument(metavar="[OUT]", show_default=False, help="The new file; default: beside the folder, named by it and the type.")]
Outtype = Annotated[
    Literal["f32", "f16", "bf16", "q8_0", "auto"],
    typer.Option("--outtype", help="Type of the matrices; auto: the 16-bit type that the checkpoint has, else f16; GPTQ's and AWQ's in the type that holds them. Vectors and norms stay F32."),
]
Pre = Annotated[
    str | None,
    typer.Option("--pre", metavar="NAME", show_default=False, help="How text is cut into words, by llama.cpp's name, where tokenizer.json's way is not recognised."),
]
Base = Annotated[Path | None, typer.Option("--base", metavar="DIR", show_default=False, help="Where SRC is an adapter: the folder of the model it was trained on.")]
Merge = Annotated[
    list[str] | None, typer.Option("--merge", metavar="DIR[:SCALE]", show_default=False, help="Fold the LoRA that PEFT saved there into the model; may be repeated."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be written, write nothing.")]
Output = Annotated[Literal["text", "json"], typer.Option("-o", "--output", show_default=False, help="How --dry-run shows the plan.")]


def command(
    source: Source, out: Out = None, outtype: Outtype = "auto", pre: Pre = None, base: Base = None, merge: Merge = None, dry_run: DryRun = False,
    force: Force = False, threads: o.Threads = None, output: Output = "text", quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Make a model file of a checkpoint, or an adapter file of a LoRA.

    SRC is a folder as the Hugging Face hub has them, or a repository there, whose files go into the hub's own cache. Only JSON, SentencePiece
    models and safetensors are read: no pickle, and no code that comes with a checkpoint. Everything is checked before the first byte is
    written, and OUT appears when it is whole. What is done when this is interrupted is kept beside it, and the same command continues it. A
    LoRA becomes a file for --lora of the other commands, in llama.cpp's form, or a part of the model with --merge.
    """

    from edgerun import machine
    from quant.convert import convert
    from quant.encoders import ROUNDING, encoders

    merges = [o.scaled(text, "--merge") for text in merge or ()]
    folder, name = checkpoint_folder(source, quiet)
    with ExitStack() as opened:
        plan = _adapter(folder, base, merges, outtype, opened) if _is_adapter(folder) else _model(folder, base, merges, outtype, pre, opened)
        tell_left_out(plan, quiet)
        if not quiet:
            _tell(plan)
        if dry_run:
            stdout().write(_json(plan) if output == "json" else _text(plan))
            return
        names = "-".join([name.name, *(path.resolve().name for path, _ in merges), plan.outtype.upper()])
        target = out or name.with_name(f"{names}.gguf")
        if target.is_dir():
            raise UsageError(f"{str(target)!a} is a folder; give the name of a file in it")
        refuse_existing(target, force)
        rounded = sum(math.prod(row.shape) for row in plan.rows if row.type == "Q8_0")
        with resumable(target), encoders(rounded // ROUNDING), status("converting:", 0.0, wanted=not quiet) as advance:
            convert(plan, target, threads=machine.threads(threads).count, progress=advance)
    stdout().write(f"wrote {clean(str(target), keep_newlines=False)}: {_what(plan)}, {size(target.stat().st_size)}\n")


def _is_adapter(source: Path) -> bool:
    return (source / "adapter_config.json").is_file() and not (source / "config.json").exists()


def _model(source: Path, base: Path | None, merges: list[tuple[Path, float]], outtype: str, pre: str | None, opened: ExitStack) -> Plan:
    """What the file of a model will hold, with adapters folded in."""
    from quant.convert import Checkpoint, Peft, Plan, card, merged, token_rows, vocabulary

    if base is not None:
        raise UsageError("--base names the model of an adapter, and SRC is a model; --merge folds an adapter in")
    checkpoint = opened.enter_context(Checkpoint(source))
    adapters = [(opened.enter_context(Peft(folder)), scale) for folder, scale in merges]
    entries = [*card(source, checkpoint.weights), *vocabulary(source, token_rows(checkpoint), pre=pre)]
    return Plan.of(checkpoint, outtype, entries, lambda tensors, family, config: merged(tensors, adapters, family, config))


def _adapter(source: Path, base: Path | None, merges: list[tuple[Path, float]], outtype: str, opened: ExitStack) -> Plan:
    """What the file of an adapter will hold."""
    from quant.convert import Checkpoint, Peft, adapter_plan, vocabulary

    peft = opened.enter_context(Peft(source))
    if merges:
        raise UsageError(f"{peft.name}: is an adapter; name the model as SRC and the adapter with --merge")
    if base is None:
        made_for = peft.config.get("base_model_name_or_path")
        known = f" ({clean(made_for[:80], keep_newlines=False)})" if isinstance(made_for, str) and made_for else ""
        raise UsageError(f"{peft.name}: is an adapter; name the folder of the model it was trained on{known} with --base, of which config.json is enough")
    of = opened.enter_context(Checkpoint(base, weights=False))
    tokens = [len(value) for key, value, _ in vocabulary(base) if key == "tokenizer.ggml.tokens"] if any(pair.table for pair in peft.factors.values()) else [None]
    return adapter_plan(peft, of, outtype, tokens[0])


# By how much a weight is changed when it is rounded to a type.
_ROUNDED = {"F16": "by up to 0.05 %", "BF16": "by up to 0.4 %", "Q8_0": "by up to 0.4 % of its block's largest"}


def _what(plan: Plan) -> str:
    return f"adapter of {plan.family.architecture}" if plan.kind == "adapter" else plan.family.architecture


def _tell(plan: Plan) -> None:
    """Warn of what the user should know before it is done."""
    tell_instead((row.name, row.shape[-1], row.type, row.instead_of) for row in plan.rows)
    for (kind, why), count in Counter((row.type, row.loss) for row in plan.rows if row.loss).items():
        warn(f"warning: {count} quantized matrices become {kind}, which rounds each weight {_ROUNDED[kind]}: {why}")


def _text(plan: Plan) -> str:
    rows = [(row.name, " x ".join(map(str, row.shape)), row.sources[0].dtype if row.sources else "", row.type, size(row.nbytes)) for row in plan.rows]
    return table(rows, head=("tensor", "shape", "from", "to", "size"), right=(4,)) + f"{_what(plan)}, {size(plan.nbytes)}\n"


def _json(plan: Plan) -> str:
    rows = [{"name": r.name, "shape": r.shape, "from": [s.name for s in r.sources], "to": r.type, "bytes": r.nbytes, "instead_of": r.instead_of} for r in plan.rows]
    return json.dumps({"kind": plan.kind, "architecture": plan.family.architecture, "type": plan.outtype, "bytes": plan.nbytes, "left_out": plan.left_out, "tensors": rows}) + "\n"
