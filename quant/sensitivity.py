"""How much a model's predictions suffer from errors in its matrices: measured, with noise on some of them at a time. Knows no type.

A small error of the weights makes a divergence that grows with its square, and those of different matrices add up: the second-order view
of HAWQ (arXiv:1905.03696), with divergences measured where it estimates a Hessian. So one measurement for a group of matrices gives its
factor: nats of mean divergence for each unit of squared error, weighted by the inputs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgerun.engine.session import Session
from edgerun.errors import UsageError
from quant.importance import Importance
from quant.recipes import kind_of
from quant.rounding import Noisy
from quant.source import Source

Progress = Callable[[int, int], None]

_LEVEL = 1 / 16     # noise, relative to the weights: about that of 4 bits
_GROUPS = 64        # measurements, at most about
_WINDOWS = 4        # of the text, from all over it,
_SIZE = 64          # of so many tokens,
_FIRST = 8          # judged from this one on
_TOKENS = 4096      # the likeliest at each position, which are compared
_NOTHING = 1e-30    # an error by which can be divided


@dataclass(frozen=True)
class Expected:
    """What the model as it is predicts at a position: its likeliest tokens, their logits, and probabilities among themselves."""

    tokens: np.ndarray
    logits: np.ndarray
    p: np.ndarray

    @classmethod
    def of(cls, logits: np.ndarray) -> Expected:
        """Of float32 [n_vocab]."""
        most = min(_TOKENS, len(logits))
        tokens = np.argpartition(logits, -most)[-most:]
        kept = logits[tokens].astype(np.float64)
        p = np.exp(kept - kept.max())
        return cls(tokens, kept, p / p.sum())

    def divergence(self, logits: np.ndarray) -> float:
        """Of other logits, float32 [n_vocab], in nats; exact also where it is tiny."""
        shift = logits[self.tokens] - self.logits
        shift -= self.p @ shift
        return float(np.log1p(self.p @ np.expm1(shift)))


def factors(source: Source, names: Sequence[str], importance: Importance, ids: Sequence[int], progress: Progress = lambda done, of: None) -> dict[str, float]:
    """Nats for each unit of weighted squared error, by the name of the matrix. ids: a text, parts of which are read again and again."""
    session, executor, tensors, found = source.session, source.executor, source.tensors, {}
    read = _windows(ids, source.tokenizer.bos if source.tokenizer.add_bos else None)
    truth = [Expected.of(row) for row in _logits(session, read)]
    groups = _groups(names)
    for done, group in enumerate(groups):
        progress(done, len(groups))
        noisy = [Noisy(tensors[name], importance.of(name, tensors[name].shape), _LEVEL) for name in group]
        executor.replace(noisy)
        lost = np.mean([expected.divergence(row) for expected, row in zip(truth, _logits(session, read), strict=True)])
        executor.replace([tensors[name] for name in group])
        found.update(dict.fromkeys(group, float(lost) / max(sum(tensor.error for tensor in noisy), _NOTHING)))
    progress(len(groups), len(groups))
    return completed(found)


def completed(found: Mapping[str, float]) -> dict[str, float]:
    """The factors, the median of all for what the text did not reach: it may matter for another."""
    usual = float(np.median([factor for factor in found.values() if factor] or [0.0]))
    return {name: factor or usual for name, factor in found.items()}


def _windows(ids: Sequence[int], bos: int | None) -> list[list[int]]:
    """Short windows from all over the text. UsageError when it is too short."""
    if len(ids) < _SIZE:
        raise UsageError(f"the text has {len(ids)} tokens, {_SIZE} at least are needed")
    starts = np.unique(np.linspace(0, len(ids) - _SIZE, _WINDOWS).astype(int)).tolist()
    return [[ids[at] if bos is None else bos, *ids[at + 1 : at + _SIZE]] for at in starts]


def _logits(session: Session, read: Sequence[Sequence[int]]) -> Iterator[np.ndarray]:
    """Float32 [n_vocab] of each position that counts, with the weights as they are now; each valid until the next."""
    for tokens in read:
        session.rewind()   # what is in memory was computed with other weights
        for rows in session.logits(tokens, _FIRST):
            yield from rows
    session.rewind()


def _groups(names: Sequence[str]) -> list[list[str]]:
    """Matrices of one role in layers next to each other."""
    roles: dict[str, list[str]] = {}
    for name in names:
        roles.setdefault(kind_of(name), []).append(name)
    groups = []
    for members in roles.values():
        parts = min(len(members), max(1, _GROUPS // len(roles)))
        groups += [list(part) for part in np.array_split(sorted(members, key=_layer), parts)]
    return groups


def _layer(name: str) -> int:
    match = re.search(r"\d+", name)
    return int(match[0]) if match else -1
