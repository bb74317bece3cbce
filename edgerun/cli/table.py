"""Columns of text for a person to read. Knows nothing of what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgerun.cli.clean import clean


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = (), right: Sequence[int] = ()) -> str:
    """The rows in aligned columns, below `head` if there is one; columns numbered in `right` are aligned to the right.

    Control characters are made visible; the last line ends with a newline.
    """
    lines = [[clean(cell, keep_newlines=False) for cell in row] for row in ([head] if head else []) + list(rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def aligned(line: Sequence[str]) -> str:
        cells = (cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in enumerate(zip(line, widths, strict=True)))
        return "  ".join(cells).rstrip()

    return "".join(aligned(line) + "\n" for line in lines)


def size(count: int) -> str:
    """A number of bytes with a unit: 98.4 MB."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
