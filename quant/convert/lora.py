"""What the file of an adapter will hold: the pairs of a PEFT folder, by the names and in the order of the model they were made for.

The form is that of llama.cpp (`edgerun/adapter.py` draws it), which has one alpha for all: where pairs have scales of their own, B is
multiplied by the rest. Knows moves only by what they do to small matrices.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from edgerun.errors import Unsupported
from edgerun.formats import by_name
from edgerun.gguf.file import shown
from quant.convert.checkpoint import Checkpoint
from quant.convert.config import Config
from quant.convert.family import Family, To, family_of
from quant.convert.moves import keeps_rows, turns_columns
from quant.convert.peft import Factors, Peft
from quant.convert.plan import OUTTYPES, Key, Plan, Row, tied

_TABLE = "token_embd.weight"
_MERGE = "fold it into the model with edgerun convert MODEL OUT --merge ADAPTER"
Sides = tuple[np.ndarray, np.ndarray]   # A [rank, cols] and B [rows, rank] of a tensor of the file


def adapter_plan(peft: Peft, base: Checkpoint, outtype: str = "auto", tokens: int | None = None) -> Plan:
    """The plan for an adapter's file. base: the checkpoint it was made for, of which only the configuration is needed; tokens: how many
    its vocabulary has, where that is known. ModelError, or Unsupported, where a model file cannot be adapted so.
    """
    family = family_of(base.config)
    config = Config(base.config, family.defaults, tokens)
    if peft.replaced:
        raise Unsupported(f"{peft.name}: replaces {_few(sorted(peft.replaced))} as a whole, which no adapter file can; {_MERGE}")
    first = next(iter(peft.factors.values()))
    if first.magnitude:
        raise Unsupported(f"{peft.name}: is a DoRA, which changes the length of rows too, as no adapter file can; {_MERGE}")
    alpha = float(np.float32(first.scale * first.rank))
    parts: dict[str, list[tuple[int | None, Sides]]] = {}
    for factors in peft.factors.values():
        for to, number in _targets(peft, family, config, factors):
            a, b = placed(factors, to, config)
            parts.setdefault(to.name, []).append((number, (a, b * np.float32(factors.scale * factors.rank / alpha))))
    outtype = _own_type(peft, alpha) if outtype == "auto" else outtype
    rows = tuple(row for name, pieces in parts.items() for row in _rows(name, pieces, outtype))
    keys: list[Key] = [
        ("general.architecture", family.architecture, None), ("general.type", "adapter", None), ("adapter.type", "lora", None),
        ("general.name", peft.folder.resolve().name or "adapter", None), *_of_base(peft),
        ("adapter.lora.alpha", alpha, "f32"), ("general.file_type", OUTTYPES[outtype][1], "u32"), ("general.quantization_version", 2, "u32"),
    ]  # fmt: skip
    return Plan(family, config, outtype, tuple(keys), rows, tuple(peft.copies))


def _of_base(peft: Peft) -> Iterator[Key]:
    """What it was made for, as far as a repository's name says it."""
    match = re.fullmatch(r"([\w.-]{1,96})/([\w.-]{1,96})", str(peft.config.get("base_model_name_or_path")), re.ASCII)
    if match and match[1].strip("."):
        yield "general.base_model.count", 1, "u32"
        yield "general.base_model.0.name", match[2], "str"
        yield "general.base_model.0.organization", match[1], "str"
        yield "general.base_model.0.repo_url", f"https://huggingface.co/{match[0]}", "str"


def _targets(peft: Peft, family: Family, config: Config, factors: Factors) -> list[tuple[To, int | None]]:
    if tied(factors.name, config):
        raise Unsupported(f"{peft.name}: adapts {shown(factors.name)}, which is the token table in files of this model; it cannot be adapted by itself")
    targets = family.targets(factors.name, config)
    if not targets:
        raise Unsupported(f"{peft.name}: adapts {shown(factors.name)}, which has no part in the model's file")
    if changed := next((to for to, _ in targets if to.value is not None), None):
        raise Unsupported(f"{peft.name}: adapts {changed.name}, whose numbers are others in the file; {_MERGE}")
    return targets


def turns(to: To, factors: Factors, config: Config) -> bool:
    """Whether the checkpoint has the matrix as [inputs, outputs]: as one whose move makes rows of its columns. Unsupported for a
    move that does neither.
    """
    if to.move is None or keeps_rows(to.move, factors.b.shape[0] if not factors.table else factors.a.shape[1], config):
        return False
    if not factors.table and turns_columns(to.move, factors.b.shape[0], config):
        return True
    shape = [factors.b.shape[0], factors.a.shape[1]]
    raise Unsupported(f"the adapter of {shown(factors.name)} has the shape {shape}, which does not fit config.json, or cannot follow it to {to.name}; {_MERGE}")


def placed(factors: Factors, to: To, config: Config) -> Sides:
    """A and B of what a pair becomes in the file, float32."""
    turned = turns(to, factors, config)
    left, right = factors.sides(turned)
    if to.move is not None:
        left, right = (to.move(right, config), left.T) if turned else (to.move(left, config), right)
    if to.rows is not None and len(left) < to.rows(config):
        left = np.concatenate([left, np.zeros((to.rows(config) - len(left), left.shape[1]), np.float32)])
    return np.ascontiguousarray(right), np.ascontiguousarray(left)


def _rows(name: str, pieces: list[tuple[int | None, Sides]], outtype: str) -> Iterator[Row]:
    """A and B of one tensor of the file, of a stack from all of its parts."""
    pieces.sort(key=lambda piece: piece[0] or 0)
    numbers = [number for number, _ in pieces]
    stacked = numbers[0] is not None
    if numbers != (list(range(len(pieces))) if stacked else [None]) or len({(a.shape, b.shape) for _, (a, b) in pieces}) > 1:
        raise Unsupported(f"{name}: some of its matrices are adapted and others not, or with other ranks; {_MERGE}")
    (a, b) = (np.stack(sides) if stacked else sides[0] for sides in zip(*(sides for _, sides in pieces), strict=True))
    # Rows of a table's A are looked up: llama.cpp has them the other way round.
    for end, values in (("a", b), ("b", a.T)) if name.endswith(_TABLE) else (("a", a), ("b", b)):
        kind, fallback = OUTTYPES[outtype][0], None
        if values.shape[-1] % by_name(kind).block:
            kind, fallback = "F16", kind
        yield Row(f"{name}.lora_{end}", values.shape, kind, To(name), instead_of=fallback, made=np.ascontiguousarray(values))


def _own_type(peft: Peft, alpha: float) -> str:
    """The type that the adapter has, where all of it has one and no B is multiplied; else f32."""
    kinds = {half.dtype for factors in peft.factors.values() for half in (factors.a, factors.b)}
    alike = all(np.float32(factors.scale * factors.rank / alpha) == 1 for factors in peft.factors.values())
    return {"F16": "f16", "BF16": "bf16"}.get(kinds.pop(), "f32") if len(kinds) == 1 and alike else "f32"


def _few(names: Sequence[str]) -> str:
    return ", ".join(shown(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
