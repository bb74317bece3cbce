"""`edgerun bench`: how fast models run here. Knows how the command is typed; the rest is in `edgerun.bench`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edgerun.cli import options as o
from edgerun.cli.complete import models
from edgerun.cli.exit import warn
from edgerun.cli.loading import Warnings, default_model, loaded
from edgerun.cli.terminal import Advance, status, stdout
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgerun.bench.grammar import Setting
    from edgerun.bench.result import Result
    from edgerun.llm import LLM


def _list(*names: str, metavar: str, help: str) -> typer.models.OptionInfo:
    info: typer.models.OptionInfo = typer.Option(*names, metavar=metavar, help=help, show_default=False)
    return info


Models = Annotated[list[str] | None, typer.Option("-m", "--model", metavar="REF", autocompletion=models, show_default=False, help="Models; default: smollm2:135m.")]
Prompts = Annotated[list[str] | None, _list("-p", "--n-prompt", metavar="N", help="Prompts of N tokens; default: 512, 0: none.")]
Gens = Annotated[list[str] | None, _list("-n", "--n-gen", metavar="N", help="N tokens one after another; default: 128, 0: none.")]
Both = Annotated[list[str] | None, _list("-pg", metavar="PP,TG", help="A prompt and tokens behind it, as 512,128; may be repeated.")]
Depths = Annotated[list[str] | None, _list("-d", "--n-depth", metavar="N", help="All of it behind N tokens that are in memory; default: 0.")]
ThreadLists = Annotated[list[str] | None, _list("-t", "--threads", metavar="N", help="Threads; default: one for each fast core.")]
Batches = Annotated[list[str] | None, _list("-b", "--batch-size", metavar="N", help="Rows of a prompt per call; default: 2048.")]
Ubatches = Annotated[list[str] | None, _list("-ub", "--ubatch-size", metavar="N", help="Rows of a prompt per step; default and most: 512.")]
Keys = Annotated[list[str] | None, _list("-ctk", "--cache-type-k", metavar="T", help="Type of the keys in memory; default: f16.")]
Values = Annotated[list[str] | None, _list("-ctv", "--cache-type-v", metavar="T", help="Type of the values; default: the same as of the keys.")]
Repetitions = Annotated[int, typer.Option("-r", "--repetitions", metavar="N", min=1, max=10_000, help="Runs of each test.")]
NoWarmup = Annotated[bool, typer.Option("--no-warmup", help="No run before those that count.")]
Output = Annotated[Literal["md", "csv", "json", "jsonl"], typer.Option("-o", "--output", help="md: tables; csv, json, jsonl: all figures.")]
Roofline = Annotated[bool, typer.Option("--roofline", help="Plot the tests under what the machine can do (with csv, json and jsonl on stderr).")]
Plot = Annotated[str | None, typer.Option("--plot", metavar="FILE", show_default=False, help="Draw the same into a .png, .svg or .pdf (needs matplotlib).")]
Price = Annotated[float | None, typer.Option("--price-per-hour", metavar="X", min=0.0, show_default=False, help="What an hour of this machine costs: adds the cost of a million tokens.")]


def command(
    model: Models = None, n_prompt: Prompts = None, n_gen: Gens = None, pg: Both = None, n_depth: Depths = None, threads: ThreadLists = None, device: o.Device = "auto",
    batch_size: Batches = None, ubatch_size: Ubatches = None, cache_type_k: Keys = None, cache_type_v: Values = None,
    repetitions: Repetitions = 5, no_warmup: NoWarmup = False, output: Output = "md", roofline: Roofline = False, plot: Plot = None,
    price_per_hour: Price = None, quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Measure how fast models run here.

    Options and tables are those of llama-bench: several values stand between commas, or the option is repeated; 1-4,
    64-512*2 and 100-300+100 are ranges; all combinations are measured. A second table has the time to the first token (TTFT), the
    gaps between tokens, and the shares of what this machine reads from memory and multiplies at most, measured just before.
    """
    from edgerun.bench import grammar as g
    from edgerun.blueprint import MAX_ROWS, Options

    kv = g.kinds(g.words(cache_type_k, ["f16"]), g.words(cache_type_v, []))
    for kind in kv:
        Options(kv=kind)   # says which there are
    settings = g.settings(
        g.words(model, [""]), g.numbers(threads, "-t", [], least=1) or [None], kv,
        g.numbers(batch_size, "-b", [2048], least=1), g.numbers(ubatch_size, "-ub", [MAX_ROWS], least=1), MAX_ROWS,
    )  # fmt: skip
    cases = g.cases(g.numbers(n_prompt, "-p", [512]), g.numbers(n_gen, "-n", [128]), g.pairs(pg, "-pg"), g.numbers(n_depth, "-d", [0]))
    picture = _picture(plot)
    if device not in ("auto", "cpu") and (roofline or picture):
        raise UsageError("--roofline and --plot know the limits of the CPU only; leave them out, or --device")
    settings = _named(settings, bool(model), "cpu" if roofline or picture else device)

    from edgerun.bench.report import Report

    report = Report(output, stdout(), settings)
    for result in _results(settings, cases, repetitions, not no_warmup, price_per_hour, quiet):
        report.add(result)
    report.end()
    if roofline:
        from edgerun.bench.roofline import roofline as drawn

        print("\n" + drawn(report.results), end="", file=stdout() if output == "md" else sys.stderr)
    if picture:
        from edgerun.bench.roofline import picture as draw

        draw(report.results, picture)


def _results(settings: Sequence[Setting], cases: Sequence, repetitions: int, warmup: bool, price: float | None, quiet: bool) -> Iterator[Result]:
    """The results one by one, with what is going on shown on a terminal."""
    from edgerun.bench.bench import Bench
    from edgerun.bench.energy import Energy

    energy = Energy()
    if energy.warning and not quiet:
        warn(energy.warning)
    with Progress(quiet) as progress:
        yield from Bench(lambda setting, context: _load(setting, context, quiet), progress, energy, price).run(settings, cases, repetitions, warmup)


@contextmanager
def _load(setting: Setting, context: int, quiet: bool) -> Iterator[LLM]:
    with loaded(setting.model, context, setting.threads, quiet, device=setting.device, kv=setting.kv) as llm:
        Warnings(llm, quiet).show()
        yield llm


def _named(settings: list[Setting], given: bool, device: str) -> list[Setting]:
    """The default model where none was given, and all of them on the device."""
    from dataclasses import replace

    return [replace(setting, model=setting.model if given else default_model(), device=device) for setting in settings]


def _picture(plot: str | None) -> Path | None:
    """Where to draw; errors come before anything is measured."""
    if plot is None:
        return None
    if not plot:
        raise UsageError("--plot needs the name of a file, as roofline.png")
    from edgerun.picture import check_picture

    check_picture(Path(plot))
    return Path(plot)


class Progress:
    """One line after the other on a terminal, each for what is measured now."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._what, self._shown = quiet, "", ExitStack()
        self._advance: Advance = lambda done, of: None

    def __call__(self, what: str, done: int, of: int) -> None:
        """`done` of `of` runs of `what` are there."""
        if what != self._what:
            self._shown.close()
            self._what, self._advance = what, self._shown.enter_context(status(what, 0.0, wanted=not self._quiet))
        self._advance(done, of)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exc: object) -> None:
        self._shown.close()
