"""`edgerun quantize`: a smaller model file. Knows how the command is typed and how to print the plan; the rest is in `quant`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgerun.cli import calibration, windows
from edgerun.cli import options as o
from edgerun.cli.clean import clean
from edgerun.cli.complete import models
from edgerun.cli.convert import Pre
from edgerun.cli.exit import warn
from edgerun.cli.instead import tell as tell_instead
from edgerun.cli.loading import phases
from edgerun.cli.source import opened
from edgerun.cli.table import size, table
from edgerun.cli.target import Force, refuse_existing, refuse_unwritable, resumable
from edgerun.cli.terminal import status, stdout
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from edgerun.gguf import GGUF
    from quant.compensation import Compensation
    from quant.edit import Change
    from quant.importance import Importance
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
Bits = Annotated[float | None, typer.Option("--bpw", metavar="BITS", show_default=False, help="Choose types by measurements: the best file of so many bits per weight.")]
Fit = Annotated[str | None, typer.Option("--fit", metavar="SIZE", show_default=False, help="Choose types by measurements: the best file of this size, as 4GB.")]
Loss = Annotated[float | None, typer.Option("--kl", metavar="NATS", show_default=False, help="Choose types by measurements: the smallest file that diverges so much.")]
Text = Annotated[str | None, typer.Option("-f", "--file", metavar="FILE", show_default=False, help="The text to measure with; default: Python's reference.")]
Report = Annotated[bool, typer.Option("--report", help="Compare the new file with the model over the text, as edgerun compare does.")]
Output = Annotated[Literal["text", "json"], typer.Option("-o", "--output", show_default=False, help="How --dry-run shows the plan.")]


def command(
    words: Words, imatrix: Imatrix = None, calibrate: calibration.Way = None, bpw: Bits = None, fit: Fit = None, kl: Loss = None, file: Text = None,
    chunks: windows.Chunks = -1, report: Report = False,
    tensor_type: TensorType = None, output_type: OutputType = None, token_embedding_type: EmbeddingType = None,
    pure: Pure = False, no_fallback: NoFallback = False, dry_run: DryRun = False, set: Set = None, split_size: SplitSize = None, keep_split: KeepSplit = False,
    pre: Pre = None, force: Force = False, threads: o.Threads = None, output: Output = "text", quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Make a model smaller.

    TYPE is a type of tensors (Q8_0, Q4_0, IQ4_XS, ...) or one of llama.cpp's mixes of them (Q4_K_M, Q3_K_S, ...), which give more bits to what a
    model suffers most by. SRC is a model file or the name of one that is here, or a checkpoint as edgerun convert takes it (a folder, hf:user/repo),
    which becomes smaller without a file in between.

    With --bpw, --fit or --kl instead of a type, the model reads a text, best one like those it will see, it is measured which matrices suffer most
    from which types, and those are chosen that lose least; what was lost in the end is told, over parts of the text that nothing was decided by.
    With --calibrate it reads a text too, and weights are rounded so that their errors cancel in what it computes there.

    Everything is checked before the first byte is written, and OUT appears when it is whole. What is done when this is interrupted is kept
    beside it, and the same command continues it.
    """
    from edgerun.cli import budget
    from edgerun.cli import report as judging
    from quant.importance import Importance
    from quant.plan import Plan

    wanted = budget.budget(bpw, _bytes(fit, "--fit"), kl)
    _refuse_nonsense(words, wanted is not None, pure, report, dry_run, file, calibrate)
    calibration.check(calibrate, file, imatrix, wanted is not None)
    choices, most = _choices(tensor_type, output_type, token_embedding_type, pure, not no_fallback), _bytes(split_size, "--split-size")
    recipe = _recipe("F16" if wanted else words[-1])
    weights = Importance.read(Path(imatrix)) if imatrix else None
    source, path = opened(words[0], pre, quiet)
    with source:
        reads = next((option for option, given in (("--calibrate", calibrate), ("--report", report), ("a budget", wanted)) if given), None)
        if reads and source.path != path:
            raise UsageError(f"{reads} runs the model, and {words[0][:60]!a} is a checkpoint: make a file of it with edgerun convert first")
        target = Path(words[1]) if len(words) == (2 if wanted else 3) else path.with_name(f"{_stem(path)}-{wanted or recipe.name}.gguf")
        text = judging.text(file) if report and not wanted else ""
        refuse_existing(target, force or dry_run)
        if (wanted or calibrate) and not dry_run:
            refuse_unwritable(target)
        writing = Writing.of(source, target, threads, set or (), most, keep_split, quiet)
        measured = budget.measure(path, wanted, choices, weights, file, threads, quiet) if wanted else None
        told = measured is not None or weights is not None or calibrate is not None
        plan = measured.plan(source) if measured else Plan.of(source, recipe, choices, measured=told)
        _tell(plan, told, quiet)
        if dry_run:
            stdout().write(_json(plan, measured.losses() if measured else {}) if output == "json" else measured.alternatives(plan) if measured else _text(plan))
            return
        weights = measured.importance if measured else weights
        wrote = writing.write(plan, weights, calibration.measured(source, plan, file, chunks, writing.count, quiet) if calibrate and file else None)
        while measured and (better := measured.judge(source, writing.parts[0])):
            wrote = writing.write(better, weights)
    stdout().write(wrote + (measured.result() if measured else ""))
    if text:
        stdout().write(judging.report(path, writing.parts[0], text, threads, quiet))


def _refuse_nonsense(words: Sequence[str], budget: bool, pure: bool, report: bool, dry_run: bool, file: str | None, calibrate: str | None) -> None:
    """UsageError for what does not go together."""
    if len(words) not in ((1, 2) if budget else (2, 3)):
        needs = "a model, and perhaps a name for the new file, but no type, are" if budget else "a model, perhaps a name for the new file, and a type are"
        raise UsageError(f"{needs} needed, as in: edgerun quantize model-f16.gguf {'--bpw 4.5' if budget else 'Q4_K_M'}")
    if budget and len(words) == 2 and _known(words[1]):
        raise UsageError(f"{words[1]} is a type, and a budget chooses types; leave out one of them, or name the new file {words[1]}.gguf")
    if pure and budget:
        raise UsageError("--pure is one type for all matrices; a budget chooses one for each")
    if report and dry_run:
        raise UsageError("--report compares the new file with the model, and --dry-run writes none; leave out one of them")
    if file and not (budget or report or calibrate):
        raise UsageError("-f is the text to measure with; give --calibrate gptq, --report, --bpw, --fit or --kl, or make an importance matrix with edgerun imatrix")


@dataclass
class Writing:
    """How a plan becomes a file, or several: `parts`, once it is written."""

    source: GGUF
    target: Path
    count: int   # of threads
    changes: Sequence[Change]
    most: int | None
    keep_split: bool
    quiet: bool
    parts: Sequence[Path] = ()

    @classmethod
    def of(cls, source: GGUF, target: Path, threads: int | None, changes: Sequence[str], most: int | None, keep_split: bool, quiet: bool) -> Writing:
        """Checked. UsageError for changes of metadata that make no sense, or when the new file would be the source."""
        from edgerun import machine
        from quant.edit import Change, refuse_source

        refuse_source(source, target, [target])
        parsed = [Change.parse(text, source.metadata) for text in changes]
        return cls(source, target, machine.threads(threads).count, parsed, most, keep_split, quiet)

    def write(self, plan: Plan, importance: Importance | None, calibrated: Compensation | None = None) -> str:
        """Write the new file, in place of an earlier one; a line that says so."""
        from quant.encoders import encoders
        from quant.quantize import quantize, usual

        source, most, before = self.source, self.most, self.parts
        if self.keep_split and len(source.files) > 1:
            most = -(-plan.nbytes // len(source.files))
        weights = sum(row.tensor.rows * row.tensor.shape[-1] for row in plan.rows if row.changes)
        with (
            phases("", self.quiet) as compiling,
            encoders(weights, compiling),
            resumable(self.target),
            status("quantizing:", 0.0, wanted=not self.quiet) as advance,
        ):
            self.parts = quantize(
                source, plan, self.target, importance=importance, encode=calibrated.encode if calibrated else usual,
                decided_by=calibrated.digest if calibrated else b"", threads=self.count, changes=self.changes, most=most, progress=advance,
            )  # fmt: skip
        for part in before:
            if part not in self.parts:   # of an attempt that came in more parts
                part.unlink(missing_ok=True)
        after = sum(part.stat().st_size for part in self.parts)
        names = clean(", ".join(map(str, self.parts)), keep_newlines=False)
        return f"wrote {names}: {size(after)} of {size(source.size)}, {plan.bits_per_weight:.2f} bits per weight\n"


def _known(name: str) -> Recipe | None:
    from quant.recipes import ALIASES, RECIPES

    known = name.upper().replace("-", "_")
    return RECIPES.get(ALIASES.get(known, known))


def _recipe(name: str) -> Recipe:
    from quant.recipes import RECIPES

    recipe = _known(name)
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


def _bytes(text: str | None, option: str) -> int | None:
    if text is None:
        return None
    match = _SIZE.fullmatch(text.strip())
    if not match or float(match[1]) <= 0:
        raise UsageError(f"{option} {text[:40]!a} is not a size, as 500M or 2G")
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
    tell_instead((row.tensor.name, row.tensor.shape[-1], row.type, row.instead_of) for row in plan.rows)
    if not measured and any(row.type.startswith(("IQ1", "IQ2", "IQ3_XXS")) for row in plan.rows):
        warn("warning: types below 3.5 bits lose much without an importance matrix; make one with edgerun imatrix and give it with --imatrix, or use --calibrate")


def _text(plan: Plan) -> str:
    rows = [(row.tensor.name, " x ".join(map(str, row.tensor.shape)), row.tensor.type_name, row.type, size(row.nbytes)) for row in plan.rows]
    before = sum(row.tensor.nbytes for row in plan.rows)
    total = f"{size(plan.nbytes)} of {size(before)}, {plan.bits_per_weight:.2f} bits per weight\n"
    return table(rows, head=("tensor", "shape", "from", "to", "size"), right=(4,)) + total


def _json(plan: Plan, losses: Mapping[str, float]) -> str:
    """losses: in nats, as far as they are expected, by the name of the tensor."""
    rows = [
        {"name": r.tensor.name, "shape": r.tensor.shape, "from": r.tensor.type_name, "to": r.type, "bytes": r.nbytes, "instead_of": r.instead_of}
        | ({"nats": losses[r.tensor.name]} if r.tensor.name in losses else {})
        for r in plan.rows
    ]
    facts = {"type": plan.recipe.name, "bytes": plan.nbytes, "bits_per_weight": plan.bits_per_weight} | ({"nats": sum(losses.values())} if losses else {})
    return json.dumps(facts | {"tensors": rows}) + "\n"
