"""`edgerun embed`: texts in, vectors out. Knows how the command is typed and how vectors are written; the rest is in `edgerun.api`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Literal

import typer

from edgerun.cli import options as o
from edgerun.cli.lines import Texts, texts
from edgerun.cli.loading import Warnings, default_model, loaded
from edgerun.cli.terminal import is_terminal, status, stdout
from edgerun.errors import OutputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

Pooling = Annotated[
    Literal["mean", "cls", "last", "none"] | None,
    typer.Option("--pooling", show_default=False, help="mean of a text's rows, its first (cls), its last, or none: all of them; default: what the file says."),
]
NoNormalize = Annotated[bool, typer.Option("--no-normalize", help="Leave vectors as long as they are.")]
Form = Annotated[Literal["jsonl", "json", "npy"], typer.Option("-o", "--output", help="jsonl: an object for each text; json: one for all; npy: float32 [texts, width].")]
Target = Annotated[str | None, typer.Option("--to", metavar="FILE", show_default=False, help="Write to this file; default: standard output.")]


def command(
    text: Texts = None, model: o.Model = None, pooling: Pooling = None, no_normalize: NoNormalize = False, output: Form = "jsonl", to: Target = None,
    ctx_size: o.CtxSize = None, threads: o.Threads = None, device: o.Device = "auto", quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Turn texts into vectors.

    Vectors of texts that mean the same point the same way: with unit length, as they come, their dot product is the cosine. Any model
    can do it, one made for it does it well. A text that is longer than the context is an error: nothing is cut off.
    """
    found = texts(text)
    name = model or default_model()
    if output == "npy" and to is None and is_terminal(sys.stdout):
        raise UsageError("npy is not for a terminal; give --to FILE or a pipe")
    if output == "npy" and pooling == "none" and len(found) > 1:
        raise UsageError("npy holds a row for each text; with --pooling none use jsonl, or one text")
    with loaded(name, ctx_size, threads, quiet, device=device) as llm:
        with status("reading texts:", wanted=not quiet) as advance:
            vectors = llm.embed(found, pooling=pooling, normalise=not no_normalize, on_progress=advance)
        Warnings(llm, quiet).show()
    if to is None:
        _write(sys.stdout.buffer if output == "npy" else stdout().buffer, output, name, found, vectors)
        return
    try:
        with open(to, "wb") as file:
            _write(file, output, name, found, vectors)
    except OSError as error:
        raise OutputError(f"{to!a} cannot be written: {error.strerror or error}") from None


def _write(file: BinaryIO, form: str, model: str, texts: Sequence[str], vectors: np.ndarray | Sequence[np.ndarray]) -> None:
    if form == "npy":
        import numpy as np

        rows = np.ascontiguousarray(np.concatenate(vectors) if vectors[0].ndim == 2 else np.asarray(vectors))
        # Not np.save: it asks where in the file it is, which a pipe cannot say.
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(rows))
        file.write(rows.data)
    elif form == "json":
        file.write(_json({"model": model, "embeddings": [_numbers(vector) for vector in vectors]}))
    else:
        for text, vector in zip(texts, vectors, strict=True):
            file.write(_json({"text": text, "embedding": _numbers(vector)}))
    file.flush()


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _numbers(vector: np.ndarray) -> Any:
    """A list of the shortest decimals that read back as the same float32; rows of a text as lists in a list."""
    return [_numbers(row) for row in vector] if vector.ndim > 1 else [float(str(x)) for x in vector]
