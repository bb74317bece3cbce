"""What converting will write, tensor by tensor and key by key, known and checked before a byte is written. Reads no weight."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgerun.errors import ModelError, Unsupported
from edgerun.formats import by_name
from edgerun.gguf.file import shown
from quant.convert import keys
from quant.convert.blocks import TYPES, Blocks, as_blocks, common
from quant.convert.checkpoint import Checkpoint, Stored, as_floats
from quant.convert.config import Config
from quant.convert.family import Family, To, family_of
from quant.convert.grouped import METHODS, Form, Grouped, grouped
from quant.convert.moves import keeps_rows
from quant.convert.mxfp4 import joined

# What the file is called, and the number llama.cpp gives it (llama.h, enum llama_ftype).
OUTTYPES = {"f32": ("F32", 0), "f16": ("F16", 1), "bf16": ("BF16", 32), "q8_0": ("Q8_0", 7)}
_MXFP4 = 38   # of a file whose experts are MXFP4, whatever else is
_QUANTIZATION_VERSION = 2   # of the block formats (GGML_QNT_VERSION)
# Matrices that llama.cpp computes with in float32 only (conversion/base.py, prepare_tensors).
_ALWAYS_F32 = re.compile(
    r"(_norm|ffn_gate_inp|ffn_gate_inp_shexp|position_embd|token_types|ssm_conv1d|shortconv\.conv|altup_correct_coef|altup_predict_coef)\.weight$"
)

Change = Callable[[Mapping[str, Stored], Family, Config], Mapping[str, Stored]]
Key = tuple[str, Any, str | None]   # name, value, GGUF type (of the items for a list), None for the usual one


@dataclass(frozen=True)
class Row:
    """One tensor of the file. sources: those that it is made of, one behind the other; to: how; instead_of: the type whose blocks its rows
    do not fill; made: its content if it has no sources; loss: why the type does not hold the checkpoint's whole numbers exactly."""

    name: str
    shape: tuple[int, ...]
    type: str
    to: To
    sources: tuple[Stored, ...] = ()
    instead_of: str | None = None
    made: np.ndarray | None = None
    loss: str | None = None

    @property
    def type_id(self) -> int:
        """GGML's number of the type."""
        return by_name(self.type).id

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return math.prod(self.shape[:-1]) * by_name(self.type).row_bytes(self.shape[-1])


@dataclass(frozen=True)
class Plan:
    """Everything that the file will hold. left_out: tensors of the checkpoint that the model's text part does not need."""

    family: Family
    config: Config
    outtype: str
    keys: tuple[Key, ...]
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]

    @property
    def kind(self) -> str:
        """model or adapter, as general.type says it."""
        return "adapter" if ("general.type", "adapter", None) in self.keys else "model"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(row.nbytes for row in self.rows)

    @classmethod
    def of(cls, checkpoint: Checkpoint, outtype: str = "auto", entries: Sequence[Key] = (), change: Change = lambda tensors, family, config: tensors) -> Plan:
        """The plan for a checkpoint, with keys besides those of its family: what describes it, its vocabulary; change: other tensors in place
        of the checkpoint's. ModelError, or Unsupported, for one that cannot be converted as a whole.
        """
        family = family_of(checkpoint.config)
        found = _tensors(checkpoint)
        tokens = next((len(value) for key, value, _ in entries if key == "tokenizer.ggml.tokens"), None)
        config = Config(checkpoint.config, family.defaults, tokens, pooling(checkpoint))
        _refuse_activation(family, config)
        keep, outtype = outtype == "auto", _own_type(checkpoint) if outtype == "auto" else outtype
        main, file_type = OUTTYPES[outtype]
        rows, left_out = _rows(checkpoint.name, change(found, family, config), family, config, main, keep)
        if kinds := Counter(row.type for row in rows if any(isinstance(stored, Blocks) for stored in row.sources)):
            outtype = kinds.most_common(1)[0][0].lower()
            file_type = TYPES[outtype.upper()]
        file_type = _MXFP4 if any(row.type == "MXFP4" for row in rows) else file_type
        general: list[Key] = [
            ("general.architecture", family.architecture, None),
            ("general.type", "model", None),
            ("general.name", checkpoint.folder.resolve().name or "model", None),
            ("general.size_label", size_label(rows), None),
        ]
        own = [*keys.of(family.architecture, family.keys, config), *_scalars(checkpoint, family, config)]
        last: list[Key] = [("general.file_type", file_type, "u32"), ("general.quantization_version", _QUANTIZATION_VERSION, "u32")]
        return cls(family, config, outtype, tuple({key[0]: key for key in [*general, *own, *entries, *last]}.values()), tuple(rows), tuple(left_out))


def _tensors(checkpoint: Checkpoint) -> dict[str, Stored]:
    """The checkpoint's tensors, those that are stored in parts in one. Unsupported where their parts make no sense to us."""
    quantization = checkpoint.config.get("quantization_config")
    method = quantization.get("quant_method") if isinstance(quantization, dict) else quantization
    if isinstance(quantization, dict) and method in METHODS:
        return grouped(checkpoint.tensors, Form.of(quantization))
    if quantization and method != "mxfp4":   # which GGUF can hold as it is
        raise Unsupported(f"{checkpoint.name}: its weights are quantized already ({shown(str(method))}); convert the original in BF16 or F16 instead")
    return joined(checkpoint.tensors)


def _refuse_activation(family: Family, config: Config) -> None:
    """No key of the file says which activation it is: it has to be the one that goes with the architecture."""
    name = config.get("hidden_activation hidden_act activation_function activation")
    if name is not None and not (isinstance(name, str) and name.startswith(family.activations)):
        raise Unsupported(f"config.json: the activation {shown(str(name))!a} is not one that {family.architecture} has, which is {' or '.join(family.activations)}")


def _own_type(checkpoint: Checkpoint) -> str:
    """The 16-bit type that most of the weights have; f16 where none has one."""
    sizes = {kind: sum(t.nbytes for t in checkpoint.tensors.values() if t.dtype == kind) for kind in ("F16", "BF16")}
    return "bf16" if sizes["BF16"] > sizes["F16"] else "f16"


def _rows(source: str, tensors: Mapping[str, Stored], family: Family, config: Config, main: str, keep: bool) -> tuple[list[Row], list[str]]:
    parts: dict[str, list[tuple[int | None, Stored, To]]] = {}
    left_out = []
    for name, stored in tensors.items():
        made = [] if tied(name, config) else family.targets(name, config)
        if not made:
            left_out.append(name)
        for to, number in made:
            parts.setdefault(to.name, []).append((number, stored, to))
    if not parts:
        raise ModelError(f"{source}: none of its tensors is one that {family.architecture} has")
    rows = [_row(name, pieces, config, main, keep) for name, pieces in parts.items()]
    rows += [Row(name, values.shape, "F32", To(name), made=values) for name, values in family.made(config).items()]
    return rows, left_out


def _scalars(checkpoint: Checkpoint, family: Family, config: Config) -> Iterator[Key]:
    """Keys with a number of each layer, which the checkpoint has as tensors."""
    for key, name in family.scalars.items():
        stored = [checkpoint.tensors.get(f"model.{family.block}.{i}.{name}") for i in range(family.blocks(config))]
        if not all(one is not None and one.floats and math.prod(one.shape) == 1 for one in stored):
            raise ModelError(f"{checkpoint.name}: {shown(name)} is not one number for each layer")
        yield key, [float(as_floats(one.read(), one.dtype).reshape(())) for one in stored if one is not None], "f32"


def tied(name: str, config: Config) -> bool:
    """Whether this is a copy of the token table, which checkpoints need not have."""
    return name.endswith(("lm_head.weight", "embed_out.weight")) and config.get("tie_word_embeddings") is True


def _row(name: str, pieces: list[tuple[int | None, Stored, To]], config: Config, main: str, keep: bool) -> Row:
    pieces.sort(key=lambda piece: piece[0] or 0)
    numbers = [number for number, *_ in pieces]
    stacked = numbers[0] is not None
    if numbers != (list(range(len(pieces))) if stacked else [None]):
        what = "has parts that are missing or there twice" if stacked else "is made of more than one tensor"
        raise ModelError(f"{shown(name)} {what}: {', '.join(shown(stored.name) for _, stored, _ in pieces[:3])}")
    shapes = {_shape(stored, to, config) for _, stored, to in pieces}
    if len(shapes) > 1:
        raise ModelError(f"{shown(name)} is made of tensors of different shapes: {', '.join(map(str, sorted(shapes)[:3]))}")
    shape = (len(pieces), *shapes.pop()) if stacked else shapes.pop()
    if not 1 <= len(shape) <= 4 or 0 in shape:
        raise ModelError(f"{shown(name)} cannot have the shape {list(shape)}")
    kind = "F32" if len(shape) == 1 or not name.endswith(".weight") or _ALWAYS_F32.search(name) else main
    kind = "MXFP4" if pieces[0][1].dtype == "MXFP4" else kind
    fallback = None
    if shape[-1] % by_name(kind).block:
        kind, fallback = "F16", kind
    matrices, to = [stored for _, stored, _ in pieces if isinstance(stored, Grouped)], pieces[0][2]
    if not matrices:
        return Row(name, shape, kind, to, tuple(stored for _, stored, _ in pieces), fallback)
    if len(matrices) < len(pieces) or to.value is not None or not keeps_rows(to.move, matrices[0].shape[0], config):
        raise Unsupported(f"{shown(name)} is made of weights that are quantized already, and not of them alone as they are; convert the original instead")
    exact, why = common(matrices) if keep else (None, "--outtype auto keeps what is there")
    if exact:
        return Row(name, shape, exact, to, tuple(as_blocks(matrix, exact) for matrix in matrices))
    return Row(name, shape, kind, to, tuple(matrices), fallback, loss=why if kind != "F32" else None)


def _shape(stored: Stored, to: To, config: Config) -> tuple[int, ...]:
    """Of what one tensor of the checkpoint becomes."""
    if not stored.floats:
        raise Unsupported(f"tensor {shown(stored.name)} is {stored.dtype}: quantized checkpoints cannot be converted; use one in BF16 or F16")
    if to.move is None:
        return (max(stored.shape[0], to.rows(config)), *stored.shape[1:]) if to.rows is not None and stored.shape else stored.shape
    # One byte that is everywhere: views of it take no memory.
    matrices = to.stack and len(stored.shape) > 2
    empty = np.broadcast_to(np.zeros((), np.bool_), stored.shape[1:] if matrices else stored.shape)
    return (stored.shape[0], *moved(empty, stored, to, config).shape) if matrices else moved(empty, stored, to, config).shape


def moved(x: np.ndarray, stored: Stored, to: To, config: Config) -> np.ndarray:
    """`x`, of the tensor or of a matrix of its stack, with its numbers where they belong. ModelError when its shape does not allow that."""
    try:
        return x if to.move is None else to.move(x, config)
    except (ValueError, IndexError, ZeroDivisionError):
        raise ModelError(f"tensor {shown(stored.name)} has the shape {list(stored.shape)}, which does not fit the numbers of heads and widths in config.json") from None


def token_rows(checkpoint: Checkpoint) -> int | None:
    """How many rows the token table has: as many tokens the vocabulary needs. None where the checkpoint has none."""
    family, config = family_of(checkpoint.config), Config(checkpoint.config)
    tables = (stored for name, stored in checkpoint.tensors.items() if "emb" in name or "wte" in name for to, _ in family.targets(name, config) if to.name == "token_embd.weight")
    return next((stored.shape[0] for stored in tables if stored.shape), None)


def pooling(checkpoint: Checkpoint) -> int | None:
    """How sentence-transformers makes an embedding of hidden rows, by GGUF's number; None where nothing says so."""
    path = checkpoint.folder / "modules.json"
    if not path.exists():
        return None
    settings = checkpoint.json("1_Pooling/config.json") or {}
    modes = {"pooling_mode_mean_tokens": 1, "pooling_mode_cls_token": 2, "pooling_mode_lasttoken": 3}
    return next((number for mode, number in modes.items() if settings.get(mode) is True), None)


def size_label(rows: Sequence[Row]) -> str:
    """How many weights a model has, as llama.cpp writes it: 7.2B, or 8x7.0B for one of 8 experts."""
    shared, each, counts = 0, 0, []
    for row in rows:
        size = math.prod(row.shape)
        count = row.shape[-2 if row.name.endswith(".bias") else -3] if "_exps." in row.name and len(row.shape) > 2 else 0
        counts += [count] * bool(count)
        each, shared = (each + size // count, shared) if count else (each, shared + size)
    weights = shared + each
    power, unit = next((p, u) for p, u in ((12, "T"), (9, "B"), (6, "M"), (3, "K")) if weights > 10**p or p == 3)
    scaled = weights / 10**power
    digits = max(2 - len(str(round(scaled)).lstrip("0")), 0)
    return (f"{sum(counts) // len(counts)}x" if counts else "") + f"{scaled:.{digits}f}{unit}"


Progress = Callable[[int, int], None]   # (bytes written, of)
