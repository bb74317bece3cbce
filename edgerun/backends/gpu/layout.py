"""Where the buffers of a program lie in the activations of a device, and what else lies there. Knows no kernel and no device.

Everything is counted in words. A row of a buffer begins at a multiple of 64 words.
"""

from __future__ import annotations

from dataclasses import replace

from edgerun.backends.gpu.frame import MOST_ROWS
from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.program import Program

LOGITS_WORDS = 4 << 20   # words of logits that are computed at a time
LONG = 1024              # positions of a sequence beyond which several workgroups share the attention of a row
SPLITS = 16              # how many
FEW = 4                  # rows of a step in which they do


def turning(op: ops.Rope) -> ops.Rope:
    """What of a rope decides its cosines and sines: layers that turn alike share a table."""
    return replace(op, x=ops.View("", 0, 0), heads=0)


@dataclass(frozen=True)
class Apart:
    """Ranges of words of a product that do not meet, each (first, behind the last): its operand, and everything else that it reads or writes.

    copied: whether the operand has to be brought there first.
    """

    operand: tuple[int, int]
    rest: tuple[int, int]
    copied: bool = False


class Layout:
    """rows: most rows of one go; outputs: most of them whose logits are computed in one go. words: size of all."""

    def __init__(self, program: Program, max_rows: int) -> None:
        self.rows = min(max_rows, MOST_ROWS)
        self.outputs = max(1, min(self.rows, LOGITS_WORDS // max(1, program.n_vocab)))
        self._starts: dict[str, tuple[int, int]] = {}
        self._spans: dict[str, tuple[int, int]] = {}
        self.ropes: dict[ops.Rope, int] = {}
        self.words = 0
        choices = {op.choice.buffer for op in program.ops if isinstance(op, ops.Experts)}   # the last, so that they lie behind every operand
        for name in sorted(program.buffers, key=choices.__contains__):
            stride = padded(program.buffers[name])
            start = self._take(stride * (self.outputs if name == program.logits else self.rows))
            self._starts[name], self._spans[name] = (start, stride), (start, self.words)
        for op in program.ops:
            if isinstance(op, ops.Rope) and turning(op) not in self.ropes:
                self.ropes[turning(op)] = self._take(2 * self.rows * len(op.frequencies))
        self.parts = self._take(FEW * max((part_words(op, program) for op in program.ops if isinstance(op, ops.Attention)), default=0))
        products = [op for op in program.ops if isinstance(op, ops.Linear | ops.Experts)]
        self.operand = self.words   # where operands are copied to that lie among what their product writes
        self._take(self.rows * max((padded(op.x.width) for op in products if self.apart(op.x, *besides(op)).copied), default=0))

    def apart(self, x: ops.View, *others: ops.View) -> Apart:
        """Where a product finds x, and where the others. WebGPU binds a buffer twice, and once to be written, only where the ranges do not meet."""
        start, stop = self._spans[x.buffer]
        spans = [self._spans[view.buffer] for view in others]
        if all(first >= stop for first, _ in spans):
            return Apart((start, stop), (stop, self.words))
        if all(last <= start for _, last in spans):
            return Apart((start, stop), (0, start))
        return Apart((self.operand, self.words), (0, self.operand), copied=True)

    def at(self, view: ops.View) -> tuple[int, int]:
        """Where a view begins, and the words from row to row."""
        start, stride = self._starts[view.buffer]
        return start + view.start, stride

    def _take(self, words: int) -> int:
        at = self.words
        self.words += padded(words)
        return at


def besides(op: ops.Linear | ops.Experts) -> tuple[ops.View, ...]:
    """What a product reads and writes besides its operand and its weights."""
    if isinstance(op, ops.Experts):
        return op.out, op.choice
    return (op.out, op.residual) if op.residual else (op.out,)


def split(op: ops.Attention) -> bool:
    """Whether it can come to see so many positions that several workgroups share a row."""
    return (op.window or op.chunk or LONG) >= LONG


def part_words(op: ops.Attention, program: Program) -> int:
    """Words of the parts of attention of one row: `combine.wgsl` draws them."""
    return op.heads * SPLITS * (2 + 2 * -(-program.caches[op.cache].value_width // 2)) if split(op) else 0


def padded(words: int) -> int:
    """Words with those behind them up to where the next row may begin."""
    return -(-words // 64) * 64
