"""What an earlier try to write a file left of it, and what of that is as it was. Knows no tensor."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from io import FileIO
from typing import Protocol

from edgerun.gguf.span import Span

COPIED = 0         # stands in a journal for what other files have: that is compared with them
_PIECE = 1 << 20   # bytes of a file read again at a time


class Journal(Protocol):
    """Remembers which tensors are written, in their order, by a checksum of each. See `quant/journal.py`."""

    def known(self, head: bytes) -> list[int]:
        """What an earlier try to write the file that begins with `head` remembered."""

    def restart(self, checksums: Iterable[int]) -> None:
        """Forget all but these."""

    def add(self, checksum: int) -> None:
        """Remember another one."""


def proven(file: FileIO, head: bytes, contents: Sequence[tuple[int, Sequence[Span] | None]], known: list[int]) -> list[int]:
    """What is known, from the first on, of tensors that are in the file behind its head. contents: bytes of each, and where they were copied from."""
    if not known or file.read(len(head)) != head:
        return []
    for number, ((size, spans), wanted) in enumerate(zip(contents, known, strict=False)):
        if not (_summed(file, size, wanted) if spans is None else _copied(file, size, spans)):
            return known[:number]
    return known[: len(contents)]


def _summed(file: FileIO, size: int, wanted: int) -> bool:
    """Whether the next `size` bytes have this checksum."""
    checksum = 0
    while size and (piece := file.read(min(_PIECE, size))):
        checksum, size = zlib.crc32(piece, checksum), size - len(piece)
    return not size and checksum == wanted


def _copied(file: FileIO, size: int, spans: Sequence[Span]) -> bool:
    """Whether the next `size` bytes are those of the spans, and zeros."""
    wanted = sum(span.nbytes for span in spans)
    same = all(file.read(piece.nbytes) == piece.bytes() for span in spans for piece in span.pieces(_PIECE))
    return same and file.read(size - wanted) == bytes(size - wanted)
