"""`edgerun list`: the models of this machine and of the catalogue. Knows how the command is typed; the rest is in `edgerun.hub`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgerun.cli.table import size, table
from edgerun.cli.terminal import stdout
from edgerun.dataclass import dataclass

if TYPE_CHECKING:
    from edgerun.hub.catalogue import Entry
    from edgerun.hub.store import Installed

All = Annotated[bool, typer.Option("-a", "--all", help="Add what the catalogue knows and is not here.")]
Output = Annotated[Literal["text", "json"], typer.Option("-o", "--output", show_default=False, help="text, or json: a list of objects.")]


@dataclass(frozen=True)
class Row:
    """One model: on this machine, in the catalogue, or both."""

    name: str
    here: Installed | None
    entry: Entry | None


def command(all: All = False, output: Output = "text") -> None:
    """List the models on this machine.

    Those of edgerun's own folder and all GGUF files in the hub's cache, whoever fetched them.
    """
    rows = _rows(all)
    out = stdout()
    if output == "json":
        print(json.dumps([_fields(row) for row in rows], indent=2), file=out)
    elif not rows:
        print("no models here; fetch one with: edgerun pull smollm2:135m (edgerun list --all shows more)", file=sys.stderr)
    elif all:
        cells = [(row.name, _size(row), _context(row), row.entry.license if row.entry else "", row.here.place if row.here else "") for row in rows]
        out.write(table(cells, ("NAME", "SIZE", "CONTEXT", "LICENSE", "HERE"), right=(1, 2)))
    else:
        out.write(table([(row.name, _size(row), row.here.place if row.here else "") for row in rows], ("NAME", "SIZE", "IN"), right=(1,)))


def _rows(all: bool) -> list[Row]:
    """What is here by name; with `all` the catalogue in its own order first."""
    from edgerun.hub.catalogue import Catalogue
    from edgerun.hub.store import Store

    entries = Catalogue.load().entries
    here = Store().installed()
    rows = [Row(model.ref, model, entries.get(model.ref)) for model in here]
    if all:
        names = {model.ref for model in here}
        missing = [Row(name, None, entry) for name, entry in entries.items() if name not in names]
        order = {name: place for place, name in enumerate(entries)}
        rows = sorted(rows + missing, key=lambda row: order.get(row.name, len(order)))
    return rows


def _size(row: Row) -> str:
    """The size on disk, or what the catalogue says."""
    if row.here:
        return size(row.here.size)
    return size(row.entry.size) if row.entry else ""


def _context(row: Row) -> str:
    return str(row.entry.context) if row.entry else ""


def _fields(row: Row) -> dict[str, Any]:
    fields: dict[str, Any] = {"name": row.name, "installed": row.here is not None}
    if row.here:
        fields |= {"path": str(row.here.path), "size": row.here.size, "place": row.here.place}
    if e := row.entry:
        fields.setdefault("size", e.size)
        fields |= {"license": e.license, "context": e.context, "aliases": list(e.aliases), "verified": e.verified, "sampling": dict(e.sampling)}
    return fields
