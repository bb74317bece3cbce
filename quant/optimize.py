"""Which type each matrix gets so that the model loses least within a budget: by measurements, where `recipes` has rules of thumb.

The loss of a matrix in a type is its squared error, weighted by its inputs (`rounding`), times what the model suffers by such errors
there (`sensitivity`); a knapsack (`budget`) chooses.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from edgerun.errors import UsageError
from edgerun.formats import Format, all_formats, by_name
from edgerun.gguf import GGUF
from edgerun.gguf.tensor import Tensor
from quant.budget import Choice, Option, within_bytes, within_loss
from quant.importance import Importance
from quant.plan import Choices, Plan, Row, settled
from quant.recipes import RECIPES, Recipe, quantizable
from quant.rounding import Sample

Progress = Callable[[int, int], None]

_FEWEST_BITS, _MOST_BITS = 0.5, 2.2   # types that are tried, of the bits of the budget
_ALIGNMENT = 32                       # bytes between tensors that a file may take besides
_TRAINED = frozenset({"Q1_0", "Q2_0", "TQ1_0", "TQ2_0", "NVFP4"})   # for models trained in them; others of their size lose less


@dataclass(frozen=True)
class Budget:
    """What limits the new file, one of: bits for each weight, bytes of the file, mean divergence in nats."""

    bits: float | None = None
    nbytes: int | None = None
    loss: float | None = None

    def __str__(self) -> str:
        return f"{self.bits:g}bpw" if self.bits else f"{self.nbytes / 1e6:.0f}MB" if self.nbytes else f"kl{self.loss:g}"

    def bytes_for(self, file: GGUF) -> int | None:
        """Bytes of all tensors together; None where a loss is the limit."""
        if self.bits is not None:
            return int(self.bits * sum(math.prod(tensor.shape) for tensor in file.tensors.values()) / 8)
        if self.nbytes is None:
            return None
        rest = sum(part.size for part in file.files) - sum(tensor.nbytes for tensor in file.tensors.values())
        return self.nbytes - max(0, rest) - _ALIGNMENT * len(file.tensors)


@dataclass(frozen=True)
class Optimum:
    """The best plan within a budget, what was chosen for each matrix, and the divergence in nats that is expected of all."""

    plan: Plan
    chosen: Choice
    expected: float


def matrices(file: GGUF) -> list[str]:
    """The names of those that can be made smaller."""
    return [name for name, tensor in file.tensors.items() if quantizable(name, tensor.shape) and tensor.type in all_formats()]


def asked(file: GGUF, choices: Choices) -> dict[str, Row]:
    """The matrices whose types the user decides. The errors are those of `Plan.of`."""
    wanted = {name: choices.of(name) for name in matrices(file)}
    return {name: settled(file.tensors[name], type, choices.fallback) for name, type in wanted.items() if type}


def options(
    file: GGUF,
    budget: Budget,
    decided: Mapping[str, Row],
    importance: Importance,
    factors: Mapping[str, float],
    threads: int,
    progress: Progress = lambda done, of: None,
) -> dict[str, list[Option]]:
    """What each matrix can become, with bytes and expected nats. decided: as `asked` says; factors: as `sensitivity.factors` measured them."""
    types = [*_types(budget, file), by_name("F16")]

    def judge(name: str) -> list[Option]:
        tensor, row = file.tensors[name], decided.get(name)
        if row and not row.changes:
            return [_as_it_is(tensor)]
        found = _judge(tensor, [by_name(row.type)] if row else types, importance.of(name, tensor.shape), factors[name])
        return found if row else [_as_it_is(tensor), *found]

    found = {}
    with ThreadPoolExecutor(threads) as pool:
        for done, (name, items) in enumerate(zip(factors, pool.map(judge, factors), strict=True)):
            progress(done, len(factors))
            found[name] = items
    progress(len(factors), len(factors))
    return found


def refuse_impossible(file: GGUF, budget: Budget, decided: Mapping[str, Row]) -> None:
    """UsageError for a budget of bytes that no choice is within; no weight is read."""
    nbytes, types = budget.bytes_for(file), [*_types(budget, file), by_name("F16")]
    if nbytes is None:
        return
    least = 0
    for name, tensor in file.tensors.items():
        if name in decided or not (quantizable(name, tensor.shape) and tensor.type in all_formats()):
            least += decided[name].nbytes if name in decided else tensor.nbytes
        else:
            least += min(tensor.nbytes, *(tensor.rows * f.row_bytes(tensor.shape[-1]) for f in types if tensor.shape[-1] % f.block == 0))
    if least > nbytes:
        raise UsageError(f"the smallest types that make sense take {least / 1e6:.1f} MB, the budget is {max(0, nbytes) / 1e6:.1f} MB; give it more")


def optimal(file: GGUF, budget: Budget, choices: Mapping[str, list[Option]], decided: Mapping[str, Row], correction: float = 1.0) -> Optimum:
    """The best plan within the budget. correction: by which expectations are to be multiplied. UsageError when no choice is within it."""
    nbytes = budget.bytes_for(file)
    found: Choice | None
    if nbytes is not None:
        kept = sum(tensor.nbytes for name, tensor in file.tensors.items() if name not in choices)
        found = within_bytes(choices, nbytes - kept)
        if found is None:
            raise UsageError(f"no choice of types takes less than {max(0, nbytes) / 1e6:.1f} MB; give it more")
    else:
        found = within_loss(choices, (budget.loss or 0.0) / correction)
        if found is None:
            raise UsageError(f"even the largest types lose more than {budget.loss} nats; allow more, or quantize to F16")

    def row(name: str, tensor: Tensor) -> Row:
        return replace(decided[name], tensor=tensor) if name in decided else Row(tensor, found[name].type if name in found else tensor.type_name)

    rows = tuple(row(name, tensor) for name, tensor in file.tensors.items())
    return Optimum(Plan(_recipe(rows), rows), found, correction * sum(option.loss for option in found.values()))


def _types(budget: Budget, file: GGUF) -> list[Format]:
    """Those that are worth trying."""
    nbytes = budget.bytes_for(file)
    known = [f for f in all_formats().values() if f.packing.kind == "code" and f.name not in _TRAINED]
    if nbytes is None:
        return known
    bits = 8 * nbytes / sum(math.prod(tensor.shape) for tensor in file.tensors.values())
    return [f for f in known if _FEWEST_BITS * bits <= 8 * f.nbytes / f.block <= _MOST_BITS * bits]


def _as_it_is(tensor: Tensor) -> Option:
    return Option(tensor.type_name, tensor.nbytes, 0.0)


def _judge(tensor: Tensor, types: list[Format], importance: np.ndarray | None, factor: float) -> list[Option]:
    sample = Sample(tensor, importance)
    rows, cols = math.prod(tensor.shape[:-1]), tensor.shape[-1]
    found = []
    for target in types:
        if cols % target.block == 0 and target.name != tensor.type_name:
            found.append(Option(target.name, rows * target.row_bytes(cols), factor * sample.error(target)))
    return found


def _recipe(rows: tuple[Row, ...]) -> Recipe:
    """A name for the mix, and llama.cpp's number of the type that most weights have."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.type] += math.prod(row.tensor.shape)
    main = counts.most_common(1)[0][0]
    bits = Plan(RECIPES["F16"], rows).bits_per_weight
    return Recipe(f"{bits:.2f}bpw", next((r.file_type for r in RECIPES.values() if r.base == main), 0), main)
