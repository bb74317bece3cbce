"""`edgerun warmup`: everything that the first run of a model would wait for. Knows how the command is typed; the rest is in `edgerun.api`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgerun.cli import options as o
from edgerun.cli.complete import models
from edgerun.cli.loading import default_model, phases
from edgerun.cli.terminal import stdout

Ref = Annotated[
    str | None,
    typer.Argument(metavar="REF", autocompletion=models, show_default=False, help="A catalogue name, a path, hf:user/repo[:quant] or a URL; default: smollm2:135m."),
]


def command(ref: Ref = None, cache_type_k: o.CacheTypeK = None, cache_type_v: o.CacheTypeV = None, quiet: o.Quiet = False) -> None:
    """Do ahead what the first run of a model does.

    Fetches the model if it is not here, and compiles the kernels it needs on this machine. Its weights are not loaded.
    """
    from edgerun.api import warmup

    name = ref or default_model()
    with phases(name, quiet) as progress:
        compiled = warmup(name, kv=o.kv(cache_type_k, cache_type_v), progress=progress)
    print(f"{name}: {_said(compiled)}", file=stdout())


def _said(compiled: int) -> str:
    return f"compiled {compiled} kernel{'s' * (compiled != 1)}; it is ready" if compiled else "nothing to do, it is ready"
