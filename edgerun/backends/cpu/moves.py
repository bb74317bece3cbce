"""Repacking as moves of bits, found by trying a format's own `repack`. Knows no format by name, and no instruction.

Most formats only move bits, and flip some (a code of 8 bits with a sign becomes one with a bias): each bit of the packed
block is one bit of the file's block, or its opposite. Which one, a dozen blocks tell, in which bit i of the file is bit k of
the number i; random blocks prove it. What is computed, as from a codebook, is left to the format.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import numpy as np

from edgerun.backends.cpu.kernels.control import MOST_WINDOWS
from edgerun.dataclass import dataclass
from edgerun.formats import by_id
from edgerun.formats.format import Format
from edgerun.formats.packing import ROWS

_WINDOW = 16   # bytes that are staged at a time
_PROOF = 8     # random blocks of 16 rows: 128 values of each bit
_WIDTHS = {"d": 2, "m": 2, "scales": 1, "mins": 1}   # bytes of an entry per lane


@dataclass(frozen=True)
class Moves:
    """cols: weights of a row that make a packed block; table: int64, as `kernels/repack.py` draws it."""

    cols: int
    table: np.ndarray


@cache
def moves_of(type_id: int) -> Moves | None:
    """How blocks of a format are repacked; None where that is more than moving bits."""
    fmt = by_id(type_id)
    elements = list(_elements(fmt))
    cols = fmt.packing.cols if fmt.packing.kind == "code" else ROWS
    nbytes = fmt.row_bytes(cols)
    if cols % fmt.block or nbytes < _WINDOW:
        return None
    sources, flips = _sources(fmt, nbytes)
    if sum(ROWS * width for _, width in elements) != fmt.packing.nbytes(ROWS, cols) or not _proven(fmt, nbytes, elements, sources, flips):
        return None
    table = _table(nbytes, elements, sources.tolist(), flips.tolist())
    return Moves(cols, np.array(table, np.int64)) if table else None


def _elements(fmt: Format) -> Iterator[tuple[int, int]]:
    """(offset, bytes per lane) of each vector of a packed block."""
    packing = fmt.packing
    if packing.kind != "code":
        yield from ((at, packing.size // ROWS) for at in range(0, ROWS * packing.size, packing.size))
        return
    for name, count, at in packing.heads:
        yield from ((at + ROWS * _WIDTHS[name] * i, _WIDTHS[name]) for i in range(count))
    yield from ((at, 4) for at in range(packing.codes_at, packing.size, 64))


def _repacked(fmt: Format, blocks: np.ndarray) -> np.ndarray:
    """Blocks of 16 rows, uint8 [16, n, bytes], as the format packs them: uint8 [n, bytes of a packed block]."""
    n = blocks.shape[1]
    cols = n * blocks.shape[2] // fmt.nbytes * fmt.block
    out = np.zeros((1, fmt.packing.nbytes(ROWS, cols)), np.uint8)
    with np.errstate(all="ignore"):   # nobody chose these halves
        fmt.repack(blocks.reshape(ROWS, -1), out)
    return out.reshape(n, -1)


def _sources(fmt: Format, nbytes: int) -> tuple[np.ndarray, np.ndarray]:
    """For each bit of a packed block the bit of the file's block it may come from, -1 for none, and its value for zeros."""
    numbers = np.arange(1, 8 * nbytes + 1)
    probes = np.array([numbers >> k & 1 for k in range(len(numbers).bit_length())] + [0 * numbers], np.uint8)
    blocks = np.packbits(probes, axis=1, bitorder="little")
    out = np.unpackbits(_repacked(fmt, np.repeat(blocks[None], ROWS, 0)), axis=1, bitorder="little")
    weights = 1 << np.arange(len(probes) - 1)
    return weights @ (out[:-1] ^ out[-1]) - 1, out[-1]


def _proven(fmt: Format, nbytes: int, elements: list[tuple[int, int]], sources: np.ndarray, flips: np.ndarray) -> bool:
    """Whether the moves give what the format gives for random blocks, in which every row is another."""
    blocks = _noise(ROWS * _PROOF * nbytes).reshape(ROWS, _PROOF, nbytes)
    given = np.concatenate([np.unpackbits(blocks, axis=2, bitorder="little"), np.zeros((ROWS, _PROOF, 1), np.uint8)], 2)
    want = np.unpackbits(_repacked(fmt, blocks), axis=1, bitorder="little")
    if sources.max() >= 8 * nbytes:
        return False
    for at, width in elements:
        bits = slice(8 * at, 8 * (at + width))   # of lane 0; the others follow it
        lanes = want[:, 8 * at : 8 * (at + ROWS * width)].reshape(_PROOF, ROWS, -1).swapaxes(0, 1)
        if not np.array_equal(given[:, :, sources[bits]] ^ flips[bits], lanes):
            return False
    return True


def _table(nbytes: int, elements: list[tuple[int, int]], sources: list[int], flips: list[int]) -> list[int] | None:
    """The table of `kernels/repack.py`; None where the block has more windows than it takes."""
    codes = next(at for at, width in elements if width == max(w for _, w in elements))
    phase = max(sources[8 * codes], 0) // 8 % 4   # where the words of the codes begin, so that each is one staged word
    inner = list(range(phase, nbytes - _WINDOW + 1, _WINDOW))
    windows = [*inner, *(edge for edge in (0, nbytes - _WINDOW) if edge not in inner)]
    if len(windows) > MOST_WINDOWS:
        return None
    word_of: dict[int, tuple[int, int]] = {}   # of each byte: where a word that holds it begins, in the file's block and in the stage
    for i, window in enumerate(windows):
        for byte in range(_WINDOW):
            word_of.setdefault(window + byte, (window + byte // 4 * 4, 256 * i + 64 * (byte // 4)))
    table = [nbytes, sum(ROWS * width for _, width in elements), len(windows), len(elements), *windows]
    for at, width in elements:
        terms: dict[tuple[int, int], int] = {}
        flipped = 0
        for bit, source in enumerate(sources[8 * at : 8 * (at + width)]):
            flipped |= flips[8 * at + bit] << bit
            if source >= 0:
                word, staged = word_of[source >> 3]
                key = staged, (bit - source + 8 * word) & 31
                terms[key] = terms.get(key, 0) | 1 << bit
        table += [at, width, flipped, len(terms)]
        table += [number for (staged, turn), mask in terms.items() for number in (staged, turn, mask)]
    return table


def _noise(count: int) -> np.ndarray:
    """Bytes of no order, always the same (splitmix64, doi:10.1145/2714064.2660195): NumPy's own would take 8 ms to import."""
    x = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ x >> np.uint64(shift)) * np.uint64(factor)
    return (x >> np.uint64(56)).astype(np.uint8)
