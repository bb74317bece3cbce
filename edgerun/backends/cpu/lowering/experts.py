"""A mixture of experts: rows choose, are sorted by expert, gathered, multiplied, and mixed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from edgerun.backends.cpu import isa as isas
from edgerun.backends.cpu.kernels.control import ENTRY, GATHERED
from edgerun.backends.cpu.lowering.linear import parts
from edgerun.backends.cpu.phase import Phase, Quantized, bits, quantized_bytes, reads
from edgerun.backends.cpu.weights import Matrix, packing_of
from edgerun.backends.executor import Tensor
from edgerun.graph import ops

if TYPE_CHECKING:
    from edgerun.backends.cpu.phases import Phases

Rooms = dict[tuple[str, ops.View, int], tuple[int, ...]]


def _rooms(op: ops.Experts, kinds: Collection[str], max_rows: int) -> Rooms:
    """Sizes of the scratch of an op, by a key that ops share: the table of groups, and the gathered inputs in each kind."""
    slots = max_rows * op.used
    rooms: Rooms = {("groups", op.choice, op.count): (ENTRY * (1 + op.count + slots),)}
    for kind in sorted(kinds):
        rooms[kind, op.x, op.used] = (4 * op.cols * slots,) if kind == "floats" else quantized_bytes(kind, op.cols, slots, isas.choose())
    return rooms


def expert_rooms(op: ops.Experts, tensors: Mapping[str, Tensor], max_rows: int, exact: bool) -> Rooms:
    """The scratch that `experts` will take, for the plan of memory."""
    return _rooms(op, {reads(packing_of(tensors[name], exact), isas.choose()) for name in op.weights}, max_rows)


def route(p: Phases, op: ops.Route) -> None:
    """Choose, row by row."""
    normalise = (0, 0) if op.normalise is None else (1, bits(op.normalise))
    p.row(f"route-{op.gating}", op.choice, *p.at(op.logits), *p.at(op.choice), op.logits.width, op.used, *normalise, p.vector(op.bias),
          op.groups, op.groups_used, op.group_best, p.vector(op.factors), bits(op.scale))   # fmt: skip


def experts(p: Phases, op: ops.Experts) -> None:
    """Group the slots of all rows by expert, unless they are; gather the inputs in that order; multiply."""
    matrices = [p.weights.matrices[name] for name in op.weights]
    rooms = _rooms(op, {reads(m.packing, p.isa) for m in matrices}, p.max_rows)
    p.flush()
    (table,) = p.room(*next(item for item in rooms.items() if item[0][0] == "groups"))
    pairs = table + ENTRY * (1 + op.count)
    if not p.is_fresh(op.choice, "groups"):
        p.phase(Phase("grouping", p.block(*p.at(op.choice), op.used, op.count, table, p.rows()), fixed=1, on_outputs=p.on_outputs))
    inputs: dict[str, tuple[int, ...]] = {}
    for key, sizes in rooms.items():
        if key[0] != "groups":
            room = p.room(key, sizes)
            apart = 4 * op.cols if op.x.width > op.cols else 0
            args = p.block(*p.at(op.x), apart, op.cols, op.used, pairs, table, p.rows(), *room, *[0] * (5 - len(room)))
            p.phase(Phase(f"gather-{key[0]}", args, slots=op.used, share=GATHERED, on_outputs=p.on_outputs))
            inputs[key[0]] = room
    start, links, first = 0, [], 0
    for matrix, bias in zip(matrices, op.biases, strict=True):
        out = op.out.part(start, op.used * matrix.rows)
        chunks = parts(matrix, p.threads, op.used)
        args = _product(p, inputs, matrix, bias, out, chunks, (table, pairs))
        links.append((first, chunks, f"experts-{matrix.kernel.partition('-')[2]}", args))
        start, first = start + out.width, first + chunks
    kernel, args = p.fan(links)
    p.phase(Phase(kernel, args, slots=op.used, most=op.count, turns=first, on_outputs=p.on_outputs))
    p.writes(op.out)


def _product(
    p: Phases, inputs: Mapping[str, tuple[int, ...]], matrix: Matrix, bias: str | None, out: ops.View, chunks: int, groups: tuple[int, int]
) -> int:
    """The argument block of one stack of matrices (`kernels/experts.py` draws it)."""
    packing = matrix.packing
    if packing.kind == "code":
        blocks, x = matrix.cols // packing.cols, Quantized(*inputs[reads(packing, p.isa)]).inputs(packing, p.isa)
    else:
        blocks, x = matrix.cols, (inputs["floats"][0], 4 * matrix.cols, 0)
    return p.block(matrix.address, blocks, -(-matrix.rows // 16), chunks, *x, *p.at(out), matrix.rows, p.vector(bias), 0, 0, p.rows(), matrix.raw,
                   4 * matrix.rows, matrix.nbytes, 4 * matrix.rows, *groups)   # fmt: skip


def weigh(p: Phases, op: ops.Weigh) -> None:
    """Multiply slots by their weights."""
    used = op.choice.width // 2
    p.row("slots-weigh", op.out, *p.at(op.x), *p.at(op.choice.part(used, used)), *p.at(op.out), used, op.x.width // used)


def mix(p: Phases, op: ops.Mix) -> None:
    """Add slots up."""
    used = op.x.width // op.out.width
    weights = p.at(op.choice.part(used, used)) if op.choice else (0, 0)
    residual = p.at(op.residual) if op.residual else (0, 0)
    p.row("slots-mix", op.out, *p.at(op.x), *weights, *p.at(op.out), used, op.out.width, *residual)
