"""`edgerun imatrix`: how much each column of each matrix matters. Knows how the command is typed; the rest is in `quant.squares`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgerun.cli import options as o
from edgerun.cli import windows as w
from edgerun.cli.clean import clean
from edgerun.cli.loading import default_model, phases
from edgerun.cli.table import table
from edgerun.cli.target import refuse_existing
from edgerun.cli.terminal import stdout
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from quant.importance import Importance

Made = Annotated[str | None, typer.Argument(metavar="FILE", show_default=False, help="An importance matrix, of edgerun or llama.cpp, to be shown.")]
Text = Annotated[str | None, typer.Option("-f", "--file", metavar="FILE", show_default=False, help="The text that the model reads; -: standard input.")]
Out = Annotated[str, typer.Option("-o", "--output", metavar="FILE", help="The new file.")]
Size = Annotated[int, typer.Option("-c", "--ctx-size", metavar="N", min=4, help="Tokens of a window.")]
Show = Annotated[bool, typer.Option("--show", help="Print the figures of each matrix.")]
Force = Annotated[bool, typer.Option("--force", help="Replace the new file if it is there.")]


def command(
    made: Made = None, model: o.Model = None, file: Text = None, output: Out = "imatrix.gguf", ctx_size: Size = 512, chunks: w.Chunks = -1,
    show: Show = False, force: Force = False, threads: o.Threads = None, quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Measure which weights of a model matter.

    The model reads a text, in windows as llama-imatrix cuts it, and the squares of what each matrix is multiplied with are added up, column by
    column, for each expert by itself. The file, in the form of llama.cpp, tells edgerun quantize --imatrix where errors would hurt most. The text
    should be like what the model will be used for; 50,000 tokens are plenty. With FILE instead of a text: what is in it.
    """
    if (made is None) == (file is None):
        raise UsageError("a text is needed, as in: edgerun imatrix -m model-f16.gguf -f text.txt; or an importance matrix to be shown")
    if made is not None:
        from quant.importance import Importance

        stdout().write(_table(Importance.read(Path(made))))
        return
    out = Path(output)
    refuse_existing(out, force, "give another name with -o")
    importance, tokens = _measured(model or default_model(), w.read_text(file or ""), out, file or "", ctx_size, chunks, threads, quiet)
    if show:
        stdout().write(_table(importance))
    stdout().write(f"wrote {clean(str(out), keep_newlines=False)}: {len(importance)} matrices over {tokens} tokens\n")


def _measured(name: str, text: str, out: Path, origin: str, size: int, chunks: int, threads: int | None, quiet: bool) -> tuple[Importance, int]:
    """The importance matrix of a model over a text, written to `out`, and how many tokens were read."""
    from edgerun.hub import resolve
    from quant.importance import Importance, write
    from quant.source import Source
    from quant.squares import squares

    with phases(name, quiet) as progress:
        path = resolve(name, progress=lambda done, of, what: progress("download", done, of))
        source = Source(path, size, threads, progress=progress)
    with source:
        found = w.cut(source.tokenizer, text, size, 0, chunks)
        sums = w.last("windows:", squares(source, found), len(found), quiet)
    write(out, sums.of, origin, len(found), size)
    return Importance.of_sums(sums.of), size * len(found)


def _table(importance: Importance) -> str:
    """The figures of each matrix."""
    from quant.statistics import statistics

    rows = [
        (s.name, str(s.columns), f"{s.total:.5g}", f"{100 * s.share:.2f} %", f"{s.evenness:.3f}", f"{100 * s.top:.1f} %", str(s.largest))
        for s in statistics(importance)
    ]
    head = ("matrix", "columns", "squared input", "share", "evenness", "top 1 % hold", "largest")
    return table(rows, head, right=range(1, len(head)))
