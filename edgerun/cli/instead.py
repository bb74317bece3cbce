"""Says which tensors get another type than was asked for, in one line for all that do so for the same reason. Knows no quantizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from edgerun.cli.exit import warn

_NAMED = 3   # tensors of a line that are named


def tell(rows: Iterable[tuple[str, int, str, str | None]]) -> None:
    """Warn of those of some rows (name, columns, type, the type that this is instead of or None) that have to be said."""
    alike: defaultdict[tuple[int, str, str], list[str]] = defaultdict(list)
    for name, cols, kind, wanted in rows:
        if wanted:
            alike[cols, kind, wanted].append(name)
    for (cols, kind, wanted), names in alike.items():
        *first, last = names if len(names) <= _NAMED else [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1} more (--dry-run lists them)"]
        verb, whose = ("become", "their") if first else ("becomes", "its")
        who = f"{', '.join(first)} and {last}" if first else last
        warn(f"warning: {who} {verb} {kind}: {whose} rows of {cols} do not fill the blocks of {wanted}")
