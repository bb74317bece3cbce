"""A program: a flat list of ops over named buffers, valid for any number of rows, made once per model."""

from __future__ import annotations

from edgerun.dataclass import dataclass
from edgerun.graph.ops import Attention, Op, Rope


@dataclass(frozen=True)
class Cache:
    """Key/value memory of one attention layer: kv_heads heads of key_width and value_width floats per position."""

    kv_heads: int
    key_width: int
    value_width: int
    window: int | None = None


@dataclass(frozen=True)
class Program:
    """ops in order; buffers: width by name; caches by index; the last op leaves the logits in buffer `logits`.

    `tensors` names every tensor of the file that the program reads. n_vocab: columns of the logits, one for each token, or
    for each label of a classifier. An encoder's program ends with `ops.Hidden`: logits is None and n_vocab 0. states: shapes of
    the recurrent states by index.
    """

    ops: tuple[Op, ...]
    buffers: dict[str, int]
    caches: tuple[Cache, ...]
    tensors: frozenset[str]
    n_vocab: int
    logits: str | None = "logits"
    states: tuple[tuple[int, ...], ...] = ()

    @property
    def causal(self) -> bool:
        """Whether a row depends on earlier positions only; else all rows of a text have to be in one step."""
        return all(op.causal for op in self.ops if isinstance(op, Attention))

    @property
    def horizons(self) -> tuple[int, ...]:
        """Lengths beyond which a sequence is computed otherwise, from its first token on: what is in memory no longer counts."""
        return tuple(sorted({op.context for op in self.ops if isinstance(op, Rope) and op.long}))
