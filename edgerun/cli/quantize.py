"""`edgerun quantize`: a smaller model file. Knows how the command is typed and how to print the plan; the rest is in `quant`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgerun.cli import options as o
from edgerun.cli.clean import clean
from edgerun.cli.complete import models
from edgerun.cli.convert import Pre
from edgerun.cli.exit import warn
from edgerun.cli.source import opened
from edgerun.cli.table import size, table
from edgerun.cli.target import Force, refuse_existing, resumable
from edgerun.cli.terminal import status, stdout
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from quant.plan import Choices, Plan
    from quant.recipes import Recipe

_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMG]?)B?", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}

Words = Annotated[list[str], typer.Argument(metavar="SRC [OUT] TYPE", autocompletion=models, help="The model or checkpoint, the new file (default: beside it, named by the type), and its type.")]
Imatrix = Annotated[str | None, typer.Option("--imatrix", metavar="FILE", show_default=False, help="How much each column matters: a file of edgerun imatrix or llama-imatrix.")]
TensorType = Annotated[list[str] | None, typer.Option("--tensor-type", metavar="REGEX=TYPE", show_default=False, help="Type of the tensors whose names match; may be repeated.")]
OutputType = Annotated[str | None, typer.Option("--output-type", metavar="TYPE", show_default=False, help="Type of the output matrix.")]
EmbeddingType = Annotated[str | None, typer.Option("--token-embedding-type", metavar="TYPE", show_default=False, help="Type of the token table.")]
Pure = Annotated[bool, typer.Option("--pure", help="One type for all matrices, no mix.")]
NoFallback = Annotated[bool, typer.Option("--no-fallback", help="Refuse where rows do not fill a type's blocks, instead of taking another type.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show the plan, write nothing.")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", show_default=False, help="Metadata of the new file, as edgerun edit takes it; may be repeated.")]
SplitSize = Annotated[str | None, typer.Option("--split-size", metavar="SIZE", show_default=False, help="Write files of at most this size, as 2G.")]
KeepSplit = Annotated[bool, typer.Option("--keep-split", help="Write as many files as the model has.")]
Output = Annotated[Literal["text", "json"], typer.Option("-o", "--output", show_default=False, help="How --dry-run shows the plan.")]


def command(
    words: Words, imatrix: Imatrix = None, tensor_type: TensorType = None, output_type: OutputType = None, token_embedding_type: EmbeddingType = None,
    pure: Pure = False, no_fallback: NoFallback = False, dry_run: DryRun = False, set: Set = None, split_size: SplitSize = None, keep_split: KeepSplit = False,
    pre: Pre = None, force: Force = False, threads: o.Threads = None, output: Output = "text", quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Make a model smaller.

    TYPE is a type of tensors (Q8_0, Q4_0, IQ4_XS, ...) or one of llama.cpp's mixes of them (Q4_K_M, Q3_K_S, ...), which give more bits to what a
    model suffers most by. SRC is a model file or the name of one that is here, or a checkpoint as edgerun convert takes it (a folder, hf:user/repo),
    which becomes smaller without a file in between. Everything is checked before the first byte is written, and OUT appears when it is whole.
    What is done when this is interrupted is kept beside it, and the same command continues it.
    """
    from edgerun import machine
    from quant.edit import Change
    from quant.importance import Importance
    from quant.plan import Plan
    from quant.quantize import quantize

    if len(words) not in (2, 3):
        raise UsageError("a model, perhaps a name for the new file, and a type are needed, as in: edgerun quantize model-f16.gguf Q4_K_M")
    recipe, choices, most = _recipe(words[-1]), _choices(tensor_type, output_type, token_embedding_type, pure, not no_fallback), _bytes(split_size)
    weights = Importance.read(Path(imatrix)) if imatrix else None
    file, path = opened(words[0], pre, quiet)
    with file:
        plan = Plan.of(file, recipe, choices, measured=weights is not None)
        _tell(plan, weights is not None, quiet)
        if dry_run:
            stdout().write(_json(plan) if output == "json" else _text(plan))
            return
        target = Path(words[1]) if len(words) == 3 else path.with_name(f"{_stem(path)}-{recipe.name}.gguf")
        refuse_existing(target, force)
        if keep_split and len(file.files) > 1:
            most = -(-plan.nbytes // len(file.files))
        changes = [Change.parse(text, file.metadata) for text in set or ()]
        with resumable(target), status("quantizing:", 0.0, wanted=not quiet) as advance:
            written = quantize(file, plan, target, importance=weights, threads=machine.threads(threads).count, changes=changes, most=most, progress=advance)
        before = file.size
    after = sum(part.stat().st_size for part in written)
    names = clean(", ".join(map(str, written)), keep_newlines=False)
    stdout().write(f"wrote {names}: {size(after)} of {size(before)}, {plan.bits_per_weight:.2f} bits per weight\n")


def _recipe(name: str) -> Recipe:
    from quant.recipes import ALIASES, RECIPES

    known = name.upper().replace("-", "_")
    recipe = RECIPES.get(ALIASES.get(known, known))
    if recipe is None:
        raise UsageError(f"{name[:40]!a} is not a type of model files; these are {', '.join(RECIPES)}")
    return recipe


def _choices(overrides: list[str] | None, output: str | None, embedding: str | None, pure: bool, fallback: bool) -> Choices:
    from quant.plan import Choices, writable

    patterns = []
    for text in overrides or ():
        pattern, equals, kind = text.rpartition("=")
        try:
            if not equals:
                raise re.error("no = in it")
            patterns.append((re.compile(pattern), writable(kind)))
        except (re.error, RecursionError) as error:
            raise UsageError(f"--tensor-type {text[:60]!a} is not REGEX=TYPE: {error}") from None
    return Choices(output and writable(output), embedding and writable(embedding), tuple(patterns), pure, fallback)


def _bytes(text: str | None) -> int | None:
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    if not match or float(match[1]) <= 0:
        raise UsageError(f"--split-size {text[:40]!a} is not a size, as 500M or 2G")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _stem(path: Path) -> str:
    """The model's name without the type it has and without the number of a part."""
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", path.stem)
    return re.sub(r"[-.](f32|f16|bf16|i?q\d\w*|mxfp4\w*)$", "", stem, flags=re.IGNORECASE) or stem


def _tell(plan: Plan, measured: bool, quiet: bool) -> None:
    """Warn of what the user should know before it is done."""
    if quiet:
        return
    again = {row.tensor.type_name for row in plan.rows if row.changes and row.tensor.type_name not in ("F32", "F16", "BF16")}
    if again:
        warn(f"warning: the model is quantized already ({', '.join(sorted(again))}); better start from F16 or BF16: what was lost then is lost again")
    for row in plan.rows:
        if row.instead_of:
            warn(f"warning: {row.tensor.name} becomes {row.type}: its rows of {row.tensor.shape[-1]} do not fill the blocks of {row.instead_of}")
    if not measured and any(row.type.startswith(("IQ1", "IQ2", "IQ3_XXS")) for row in plan.rows):
        warn("warning: types below 3.5 bits lose much without an importance matrix; make one with edgerun imatrix and give it with --imatrix")


def _text(plan: Plan) -> str:
    rows = [(row.tensor.name, " x ".join(map(str, row.tensor.shape)), row.tensor.type_name, row.type, size(row.nbytes)) for row in plan.rows]
    before = sum(row.tensor.nbytes for row in plan.rows)
    total = f"{size(plan.nbytes)} of {size(before)}, {plan.bits_per_weight:.2f} bits per weight\n"
    return table(rows, head=("tensor", "shape", "from", "to", "size"), right=(4,)) + total


def _json(plan: Plan) -> str:
    rows = [
        {"name": r.tensor.name, "shape": r.tensor.shape, "from": r.tensor.type_name, "to": r.type, "bytes": r.nbytes, "instead_of": r.instead_of}
        for r in plan.rows
    ]
    return json.dumps({"type": plan.recipe.name, "bytes": plan.nbytes, "bits_per_weight": plan.bits_per_weight, "tensors": rows}) + "\n"
