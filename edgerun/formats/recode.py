"""Other codes in blocks whose scales stay as they are. Knows no layout: where a block keeps the bits of its codes is found by trying.

Bit i of a block is made bit k of the number i in block k, and the codes that `Format.codes` reads from such blocks then spell
where each of their bits came from. Random blocks prove it. Where codes are more than bits that lie somewhere (codebooks,
digits to the base of 3), there is no way to change one without the others, and no `Recoder`.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from edgerun.dataclass import dataclass
from edgerun.formats import search
from edgerun.formats.format import Format

_PROOF = 64   # random blocks


@dataclass(frozen=True)
class Recoder:
    """sources: int [block * bits], the bit of a block that each bit of its codes is; flips: uint8 like it, 1 where it is its opposite.

    levels: what codes may stand for before they are scaled, ascending integers; code_of: uint8, the code of each level.
    """

    format: Format
    sources: np.ndarray
    flips: np.ndarray
    levels: tuple[int, ...]
    code_of: np.ndarray

    def write(self, levels: np.ndarray, rows: np.ndarray) -> None:
        """Let the weights of `rows`, uint8 [rows, bytes per row], stand for `levels`, float32 [cols, rows], out of `self.levels`."""
        fmt = self.format
        codes = self.code_of[search.codes_of(levels, self.levels)]
        bits = np.unpackbits(codes.reshape(-1, fmt.block, 1), axis=-1, count=fmt.packing.bits, bitorder="little")
        blocks = np.unpackbits(rows.reshape(-1, fmt.nbytes), axis=-1, bitorder="little")
        blocks[:, self.sources] = bits.reshape(len(blocks), -1) ^ self.flips
        rows[...] = np.packbits(blocks, axis=-1, bitorder="little").reshape(rows.shape)


@cache
def recoder_of(fmt: Format) -> Recoder | None:
    """How codes of a format are changed; None where its codes are no bits of their own."""
    if fmt.packing.kind != "code":
        return None
    numbers = np.arange(1, 8 * fmt.nbytes + 1)
    probes = np.array([numbers >> k & 1 for k in range(len(numbers).bit_length())] + [0 * numbers], np.uint8)
    read = _read(fmt, np.packbits(probes, axis=1, bitorder="little"))
    sources = (1 << np.arange(len(probes) - 1)) @ (read[:-1] ^ read[-1]) - 1
    if sources.min() < 0 or sources.max() >= 8 * fmt.nbytes or len(set(sources)) < len(sources):
        return None
    blocks = np.random.default_rng(0).integers(0, 256, (_PROOF, fmt.nbytes), np.uint8)
    if not np.array_equal(np.unpackbits(blocks, axis=1, bitorder="little")[:, sources] ^ read[-1], _read(fmt, blocks)):
        return None
    return Recoder(fmt, sources, read[-1], *_levels(fmt))


def _read(fmt: Format, blocks: np.ndarray) -> np.ndarray:
    """The bits of the codes of blocks, uint8 [n, nbytes] -> uint8 [n, block * bits]."""
    codes = fmt.codes(blocks[:, None])
    return np.unpackbits(codes[..., None], axis=-1, count=fmt.packing.bits, bitorder="little").reshape(len(blocks), -1)


def _levels(fmt: Format) -> tuple[tuple[int, ...], np.ndarray]:
    """Levels and codes of `Recoder`. Of codes for one level the lowest; a code of 8 bits never stands for -128, as in llama.cpp."""
    packing = fmt.packing
    every = packing.levels
    levels = sorted(set(every) - {-128})
    return tuple(levels), np.array([every.index(level) for level in levels], np.uint8)
