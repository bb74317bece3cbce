"""What quantizing will do, tensor by tensor, known before a byte is written. Knows shapes and types, reads no weight."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edgerun.errors import ModelError, UsageError
from edgerun.formats import all_formats, by_name
from edgerun.gguf import GGUF, Metadata
from edgerun.gguf.tensor import Tensor
from quant.recipes import Place, Recipe, quantizable, role_of

# What llama.cpp takes instead where a row does not fill the blocks of a type (src/llama-quant.cpp).
FALLBACKS = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0", "Q2_0"), "Q4_0"),
    "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0",
}  # fmt: skip


@dataclass(frozen=True)
class Choices:
    """What the user decides against the recipe; types by name.

    output, token_embedding: of these two tensors. overrides: (regular expression, type) searched for in names, the first that is found holds.
    pure: the recipe's main type everywhere.
    """

    output: str | None = None
    token_embedding: str | None = None
    overrides: tuple[tuple[re.Pattern[str], str], ...] = ()
    pure: bool = False
    fallback: bool = True

    def of(self, name: str) -> str | None:
        """The type that was asked for this tensor, if any."""
        if name == "output.weight" and self.output:
            return self.output
        if name == "token_embd.weight" and self.token_embedding:
            return self.token_embedding
        return next((type for pattern, type in self.overrides if pattern.search(name)), None)


@dataclass(frozen=True)
class Row:
    """One tensor: its type now, the one it gets, and the one it should have had where rows do not divide."""

    tensor: Tensor
    type: str
    instead_of: str | None = None

    @property
    def changes(self) -> bool:
        """Whether weights are computed, rather than copied."""
        return self.type != self.tensor.type_name

    @property
    def type_id(self) -> int:
        """GGML's number of the new type."""
        return by_name(self.type).id if self.changes else self.tensor.type

    @property
    def nbytes(self) -> int:
        """Bytes in the new file."""
        return self.tensor.rows * by_name(self.type).row_bytes(self.tensor.shape[-1]) if self.changes else self.tensor.nbytes


@dataclass(frozen=True)
class Plan:
    """Every tensor of the file, in its order."""

    recipe: Recipe
    rows: tuple[Row, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors in the new file."""
        return sum(row.nbytes for row in self.rows)

    @property
    def bits_per_weight(self) -> float:
        """Of all tensors together."""
        return 8 * self.nbytes / sum(math.prod(row.tensor.shape) for row in self.rows)

    @classmethod
    def of(cls, file: GGUF, recipe: Recipe, choices: Choices = Choices(), measured: bool = False) -> Plan:
        """The plan for a file. UsageError for a type that edgerun does not write or that falls back where that is forbidden,
        ModelError for tensors that cannot be read as weights."""
        places = _places(file.tensors, file.metadata, measured)
        return cls(recipe, tuple(_row(tensor, recipe, choices, places[name]) for name, tensor in file.tensors.items()))


def writable(name: str) -> str:
    """The name of a type, checked. UsageError when there is none of that name."""
    known = [f.name for f in all_formats().values()]
    if name.upper() not in known:
        raise UsageError(f"{name[:40]!a} is not a type that edgerun writes; these are {', '.join(sorted(known))}")
    return name.upper()


def _row(tensor: Tensor, recipe: Recipe, choices: Choices, place: Place) -> Row:
    asked = choices.of(tensor.name) if quantizable(tensor.name, tensor.shape) else None
    wanted = asked or (recipe.type_of(tensor.name, tensor.shape, place) if not choices.pure else recipe.base if quantizable(tensor.name, tensor.shape) else None)
    return Row(tensor, tensor.type_name) if wanted is None else settled(tensor, wanted, choices.fallback)


def settled(tensor: Tensor, wanted: str, fallback: bool) -> Row:
    """A tensor in the type that is wanted, or in that which llama.cpp takes where rows do not fill its blocks. The errors are those of `Plan.of`."""
    if wanted == tensor.type_name:
        return Row(tensor, wanted)
    if tensor.type not in all_formats():
        raise ModelError(f"tensor {tensor.name!a} is of type {tensor.type_name}, which holds no weights that can be quantized")
    wanted, cols = writable(wanted), tensor.shape[-1]
    if cols % by_name(wanted).block == 0:
        return Row(tensor, wanted)
    if not fallback:
        block = by_name(wanted).block
        raise UsageError(f"the rows of {tensor.name!a} have {cols} weights, which do not fill the blocks of {block} of {wanted}; choose another type with --tensor-type")
    other = FALLBACKS.get(wanted, "F16")
    return Row(tensor, other if cols % by_name(other).block == 0 else "F16", wanted)


def _places(tensors: Mapping[str, Tensor], metadata: Metadata, measured: bool) -> dict[str, Place]:
    """Where each tensor stands among those of its role."""
    architecture = metadata.str("general.architecture", "")
    layers = metadata.int(f"{architecture}.block_count", 0, low=0)
    experts, gqa = metadata.int(f"{architecture}.expert_count", 0, low=0), _gqa(metadata, architecture)
    tied = "output.weight" not in tensors
    values = [name for name in _by_layer(tensors) if role_of(name) == "attn_v"]
    result = {}
    for name in tensors:
        layer = _layer(name)
        index, count = (values.index(name), len(values)) if name in values else (layer, layers)
        result[name] = Place(index, count, gqa, experts, measured, tied)
    return result


def _gqa(metadata: Metadata, architecture: str) -> int:
    """Queries to a key/value head, of the layer with the most key/value heads."""

    def most(key: str) -> int:
        value = metadata.get(f"{architecture}.attention.{key}", 0)
        items: Sequence[object] = value if isinstance(value, list) else [value]
        return max((item for item in items if isinstance(item, int)), default=0)

    heads, kv = most("head_count"), most("head_count_kv")
    return heads // kv if kv else 1


def _by_layer(names: Mapping[str, Tensor]) -> list[str]:
    return sorted(names, key=lambda name: (_layer(name), name))


def _layer(name: str) -> int:
    match = re.match(r"blk\.(\d+)\.", name)
    return int(match[1]) if match else -1
