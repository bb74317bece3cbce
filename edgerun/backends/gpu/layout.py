"""Where the buffers of a program lie in the activations of a device, and what else lies there. Knows no kernel and no device.

Everything is counted in words. A row of a buffer begins at a multiple of 64 words.
"""

from __future__ import annotations

from dataclasses import replace

from edgerun.backends.gpu.frame import MOST_ROWS
from edgerun.graph import ops
from edgerun.graph.program import Program

LOGITS_WORDS = 4 << 20   # words of logits that are computed at a time
LONG = 1024              # positions of a sequence beyond which several workgroups share the attention of a row
SPLITS = 16              # how many
FEW = 4                  # rows of a step in which they do


def turning(op: ops.Rope) -> ops.Rope:
    """What of a rope decides its cosines and sines: layers that turn alike share a table."""
    return replace(op, x=ops.View("", 0, 0), heads=0)


class Layout:
    """rows: most rows of one go; outputs: most of them whose logits are computed in one go. words, quantized: size of both arenas."""

    def __init__(self, program: Program, max_rows: int) -> None:
        self.rows = min(max_rows, MOST_ROWS)
        self.outputs = max(1, min(self.rows, LOGITS_WORDS // max(1, program.n_vocab)))
        self._starts: dict[str, tuple[int, int]] = {}
        self.ropes: dict[ops.Rope, int] = {}
        self.words = 0
        for name, width in program.buffers.items():
            stride = _round(width)
            self._starts[name] = self._take(stride * (self.outputs if name == program.logits else self.rows)), stride
        for op in program.ops:
            if isinstance(op, ops.Rope) and turning(op) not in self.ropes:
                self.ropes[turning(op)] = self._take(2 * self.rows * len(op.frequencies))
        self.parts = self._take(FEW * max((part_words(op, program) for op in program.ops if isinstance(op, ops.Attention)), default=0))
        products = [op for op in program.ops if isinstance(op, ops.Linear | ops.Experts)]
        self.quantized = self.rows * max((quantized_words(op.x.width) for op in products), default=0)

    def at(self, view: ops.View) -> tuple[int, int]:
        """Where a view begins, and the words from row to row."""
        start, stride = self._starts[view.buffer]
        return start + view.start, stride

    def _take(self, words: int) -> int:
        at = self.words
        self.words += _round(words)
        return at


def split(op: ops.Attention) -> bool:
    """Whether it can come to see so many positions that several workgroups share a row."""
    return (op.window or op.chunk or LONG) >= LONG


def part_words(op: ops.Attention, program: Program) -> int:
    """Words of the parts of attention of one row: `combine.wgsl` draws them."""
    return op.heads * SPLITS * (2 + 2 * -(-program.caches[op.cache].value_width // 2)) if split(op) else 0


def quantized_words(width: int) -> int:
    """Words of a row of `width` numbers as int8: `quantize.wgsl` draws them."""
    return width // 16 * 8


def _round(words: int) -> int:
    return -(-words // 64) * 64
