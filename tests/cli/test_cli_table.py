from __future__ import annotations

import pytest

from edgerun.cli.table import size, table


def test_columns() -> None:
    rows = [("a", "1", "x"), ("bcd", "100", "")]
    assert table(rows, ("NAME", "N", "Z"), right=(1,)) == "NAME    N  Z\na       1  x\nbcd   100\n"
    assert table([]) == ""
    assert table([("a\x1b[2J", "b\n")]) == "a\\x1b[2J  b\\n\n"


@pytest.mark.parametrize(("count", "text"), [(0, "0.0 kB"), (1500, "1.5 kB"), (99_000, "99.0 kB"), (98_362_432, "98.4 MB"), (4_683_000_000, "4.68 GB")])
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text
