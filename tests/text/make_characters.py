"""Print the table of `edgerun/text/characters.py`: `python make_characters.py`, with `unicodedata2==15.1.0` installed."""

from __future__ import annotations

import textwrap
from itertools import groupby
from types import ModuleType

WHITE_SPACE = {0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000}   # beyond ASCII


def name(code: int, data: ModuleType) -> str:
    """The letter of the class of a code point."""
    first = str(data.category(chr(code)))[0]
    return "W" if code in WHITE_SPACE else first if first in "LNMPS" else "C"


def runs(data: ModuleType) -> str:
    """The table, from the `unicodedata` of some version."""
    groups = [(letter, len(list(group))) for letter, group in groupby(name(code, data) for code in range(0x80, 0x110000))]
    return " ".join(f"{letter}{length if length > 1 else ''}" for letter, length in groups)


if __name__ == "__main__":
    import unicodedata2

    assert unicodedata2.unidata_version == "15.1.0"
    for line in textwrap.wrap(runs(unicodedata2), 180):
        print(f'    "{line.replace(" ", "")}"')
