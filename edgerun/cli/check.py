"""`edgerun check`: whether a model file is sound. Knows how the command is typed and how to print it; the rest is in `quant.check`."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated, Literal

import typer

from edgerun.cli import options as o
from edgerun.cli.clean import clean
from edgerun.cli.pull import Ref
from edgerun.cli.terminal import status, stdout, styled

_COLOURS = {"ok": "\x1b[32m", "warning": "\x1b[33m", "damage": "\x1b[31m"}
_PLAIN = "\x1b[39m"

Output = Annotated[Literal["text", "json"], typer.Option("-o", "--output", show_default=False, help="text, or json: one object.")]


def command(ref: Ref, output: Output = "text", quiet: o.Quiet = False) -> None:
    """Look a model file through for damage.

    Structure, hash where it is known, numbers that are not finite, rows of zeros, tensors that are missing or left over, vocabulary and chat
    template: a line each, with what to do. Ends with exit code 3 when something is damaged. Nothing is fetched.
    """
    from edgerun.hub import entry_of, resolve
    from quant.check import check

    path, entry = resolve(ref, download=False), entry_of(ref)
    with status("looking at tensors:", wanted=not quiet) as advance:
        found = list(check(path, entry.sha256 if entry else None, advance))
    if output == "json":
        stdout().write(json.dumps({"path": str(path), "findings": [dataclasses.asdict(f) for f in found]}) + "\n")
    else:
        out = stdout()
        for finding in found:
            colour, plain = (_COLOURS[finding.level], _PLAIN) if styled(out) else ("", "")
            out.write(f"{colour}{finding.level:<8}{plain} {finding.what + ':':<13} {clean(finding.text, keep_newlines=False)}\n")
    if any(finding.level == "damage" for finding in found):
        raise typer.Exit(3)
