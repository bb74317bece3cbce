"""Rounds a matrix so that the errors of its weights cancel in what it is used for (GPTQ, arXiv:2210.17323). Knows no file and no model.

For inputs X and errors E of the weights, the outputs are off by trace(E H E^T), H = X^T X. With H = R R^T, R upper triangular, that is
the sum over columns j of R_jj^2 (t_j - q_j)^2, where t_j = w_j + sum over i < j of (w_i - q_i) R_ij / R_jj: so columns are rounded
from the first to the last, each to what stands nearest to its weights and to what the errors before it have left to be made good.
The paper subtracts what it owes from the later columns, by the Cholesky factor of the inverse of H; that is the same sum (QuIP,
arXiv:2307.13304, theorem 6), but here H is not inverted.

The scales of a block are those that the format's own search finds for t, with R_jj^2 as importance, which is what an error costs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgerun.errors import ModelError
from edgerun.formats import search
from edgerun.formats.format import Format
from edgerun.formats.packing import lines
from edgerun.formats.recode import Recoder, recoder_of

_DAMPING = 0.01   # of the mean of H's diagonal, added to the diagonal: the paper's
_TRUST = 0.7      # of what two columns of H have in common: the rest is taken for this text's own (decision 026)
_RUN = 32         # columns whose errors reach each other one by one; from run to run they do so as a product of matrices
_TRAINED = ("Q1_0", "Q2_0", "TQ2_0")   # for models that were trained in -1, 0 and 1: nobody rounds others to them


def takes(fmt: Format) -> bool:
    """Whether matrices can be rounded to this format: its codes must be bits of their own."""
    return fmt.name not in _TRAINED and recoder_of(fmt) is not None


@dataclass(frozen=True)
class Feedback:
    """by[i, j]: how much of the error of column i the later column j makes good, float32, 0 for i >= j. cost: R_jj^2, of an error in
    each column, float32; squares: H_jj likewise, of one that nothing makes good.
    """

    by: np.ndarray
    cost: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, gram: np.ndarray, trust: float = _TRUST) -> Feedback:
        """Of H, [cols, cols] and symmetric; ModelError where it holds what is no number. Columns without input count for little."""
        h = gram.astype(np.float64)
        if not np.isfinite(h).all():
            raise ModelError("the products of a matrix's inputs are not finite: the file is damaged, or not meant for this architecture")
        squares = np.diag(h).copy()
        h *= trust
        np.fill_diagonal(h, squares + (_DAMPING * squares.mean() or 1.0))
        try:
            r = np.linalg.cholesky(h[::-1, ::-1])[::-1, ::-1]
        except np.linalg.LinAlgError:
            raise ModelError("the products of a matrix's inputs are no sums of squares: the file is damaged") from None
        own = np.diag(r).copy()
        by = np.divide(r, own, out=np.empty(r.shape, np.float32), casting="same_kind")
        np.fill_diagonal(by, 0)
        return cls(by, np.square(own).astype(np.float32), squares.astype(np.float32))


def round_to(fmt: Format, x: np.ndarray, feedback: Feedback) -> np.ndarray:
    """float32 [rows, cols] -> uint8 [rows, bytes per row]. ModelError as of `Format.quantize`."""
    recoder = recoder_of(fmt)
    assert recoder is not None, f"{fmt.name} has no codes of their own"
    weights = np.ascontiguousarray(x.T, np.float32)
    errors = np.zeros_like(weights)
    out = np.empty((len(x), fmt.row_bytes(len(weights))), np.uint8)
    for at in range(0, len(weights), fmt.block):
        here = slice(at, at + fmt.block)
        first = at // fmt.block * fmt.nbytes
        out[:, first : first + fmt.nbytes] = _block(recoder, weights, errors, here, feedback)
    return out


@np.errstate(all="ignore")   # dividing by the scale of an empty block is dealt with where it happens
def _block(recoder: Recoder, weights: np.ndarray, errors: np.ndarray, here: slice, feedback: Feedback) -> np.ndarray:
    """The bytes of one block of each row; their errors are written down. Arrays are [cols, rows]."""
    target = weights[here] + feedback.by[: here.start, here].T @ errors[: here.start]
    rows = recoder.format.quantize(target.T, feedback.cost[here])
    levels = np.empty_like(target)
    scales, offsets = _lines(recoder.format, rows)
    nearest, sub = search.nearest_of(recoder.levels), recoder.format.packing.sub
    for start in range(here.start, here.stop, _RUN):
        run = slice(start, start + _RUN)
        owed = target[start - here.start : run.stop - here.start]
        owed += feedback.by[here.start : start, run].T @ errors[here.start : start]
        for j in range(start, run.stop):
            k = j - here.start
            t = target[k] + feedback.by[start:j, j] @ errors[start:j]
            scale, offset = scales[k // sub], offsets[k // sub]
            levels[k] = nearest((t - offset) * search.inverse(scale))
            errors[j] = weights[j] - (levels[k] * scale + offset)
    recoder.write(levels, rows)
    return rows


def _lines(fmt: Format, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and offset of each sub-block, float32 [subs, rows]."""
    scale, offset = lines(fmt.packing, fmt.parts(rows))
    return np.ascontiguousarray(scale.T), np.zeros_like(scale.T) if offset is None else np.ascontiguousarray(offset.T)
