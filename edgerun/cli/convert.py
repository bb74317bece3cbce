"""`edgerun convert`: a checkpoint folder becomes a model file. Knows how the command is typed; the rest is in `quant.convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgerun.cli import options as o
from edgerun.cli.clean import clean
from edgerun.cli.exit import warn
from edgerun.cli.source import checkpoint_folder, tell_left_out
from edgerun.cli.table import size, table
from edgerun.cli.target import Force, refuse_existing, resumable
from edgerun.cli.terminal import status, stdout
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from quant.convert import Plan

Source = Annotated[str, typer.Argument(metavar="SRC", help="A folder with config.json, *.safetensors and the tokenizer's files, or hf:user/repo.")]
Out = Annotated[Path | None, typer.Argument(metavar="[OUT]", show_default=False, help="The new file; default: beside the folder, named by it and the type.")]
Outtype = Annotated[
    Literal["f32", "f16", "bf16", "q8_0", "auto"],
    typer.Option("--outtype", help="Type of the matrices; auto: the 16-bit type that the checkpoint has, else f16. Vectors and norms stay F32."),
]
Pre = Annotated[
    str | None,
    typer.Option("--pre", metavar="NAME", show_default=False, help="How text is cut into words, by llama.cpp's name, where tokenizer.json's way is not recognised."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be written, write nothing.")]
Output = Annotated[Literal["text", "json"], typer.Option("-o", "--output", show_default=False, help="How --dry-run shows the plan.")]


def command(
    source: Source, out: Out = None, outtype: Outtype = "auto", pre: Pre = None, dry_run: DryRun = False, force: Force = False,
    threads: o.Threads = None, output: Output = "text", quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Make a model file of a checkpoint.

    SRC is a folder as the Hugging Face hub has them, or a repository there, whose files go into the hub's own cache. Only JSON, SentencePiece models and safetensors are read: no pickle, and no code that
    comes with a checkpoint. Everything is checked before the first byte is written, and OUT appears when it is whole. What is done when this
    is interrupted is kept beside it, and the same command continues it.
    """

    from edgerun import machine
    from quant.convert import Checkpoint, Plan, card, convert, token_rows, vocabulary

    folder, name = checkpoint_folder(source, quiet)
    with Checkpoint(folder) as checkpoint:
        entries = [*card(folder, checkpoint.weights), *vocabulary(folder, token_rows(checkpoint), pre=pre)]
        plan = Plan.of(checkpoint, outtype, entries)
        tell_left_out(plan, quiet)
        if not quiet:
            _tell(plan)
        if dry_run:
            stdout().write(_json(plan) if output == "json" else _text(plan))
            return
        target = out or name.with_name(f"{name.name}-{plan.outtype.upper()}.gguf")
        if target.is_dir():
            raise UsageError(f"{str(target)!a} is a folder; give the name of a file in it")
        refuse_existing(target, force)
        with resumable(target), status("converting:", 0.0, wanted=not quiet) as advance:
            convert(plan, target, threads=machine.threads(threads).count, progress=advance)
    stdout().write(f"wrote {clean(str(target), keep_newlines=False)}: {plan.family.architecture}, {size(target.stat().st_size)}\n")


def _tell(plan: Plan) -> None:
    """Warn of what the user should know before it is done."""
    for row in plan.rows:
        if row.instead_of:
            warn(f"warning: {row.name} becomes {row.type}: its rows of {row.shape[-1]} do not fill the blocks of {row.instead_of}")


def _text(plan: Plan) -> str:
    rows = [(row.name, " x ".join(map(str, row.shape)), row.sources[0].dtype if row.sources else "", row.type, size(row.nbytes)) for row in plan.rows]
    return table(rows, head=("tensor", "shape", "from", "to", "size"), right=(4,)) + f"{plan.family.architecture}, {size(plan.nbytes)}\n"


def _json(plan: Plan) -> str:
    rows = [{"name": r.name, "shape": r.shape, "from": [s.name for s in r.sources], "to": r.type, "bytes": r.nbytes, "instead_of": r.instead_of} for r in plan.rows]
    return json.dumps({"architecture": plan.family.architecture, "type": plan.outtype, "bytes": plan.nbytes, "left_out": plan.left_out, "tensors": rows}) + "\n"
