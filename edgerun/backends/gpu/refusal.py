"""What of a program the GPU backend does not compute, found before anything is read or uploaded. Knows no device."""

from __future__ import annotations

from collections.abc import Mapping

from edgerun.backends.executor import Tensor
from edgerun.backends.gpu.lowering import LOWERINGS
from edgerun.formats import by_id
from edgerun.graph import ops
from edgerun.graph.program import Program

MOST_EXPERTS = 1024   # their scores lie in the memory of a workgroup
MOST_WIDTH = 1024     # of a head: its query lies there too


def refusal(program: Program, tensors: Mapping[str, Tensor]) -> str | None:
    """Why a program cannot run here, in a few words; None where it can."""
    for op in program.ops:
        if type(op) not in LOWERINGS:
            return f"no kernel for {type(op).__name__}"
        if reason := _of_op(op, program) or _of_matrices(op, tensors):
            return reason
    return None


def _of_op(op: ops.Op, program: Program) -> str | None:
    match op:
        case ops.Attention(causal=False):
            return "no kernel for attention over whole texts"
        case ops.Attention(slopes=slopes) if slopes is not None:
            return "no kernel for attention with slopes"
        case ops.Attention(cache=cache) if max(program.caches[cache].key_width, program.caches[cache].value_width) > MOST_WIDTH:
            return f"attention heads wider than {MOST_WIDTH}"
        case ops.Route(groups=groups) if groups > 1:
            return "no kernel for groups of experts"
        case ops.Route(logits=logits) if logits.width > MOST_EXPERTS:
            return f"more than {MOST_EXPERTS} experts in a layer"
        case ops.Activate(activation=activation) if not isinstance(activation, str):
            return f"no kernel for {type(activation).__name__}"
    return None


def _of_matrices(op: ops.Op, tensors: Mapping[str, Tensor]) -> str | None:
    if isinstance(op, ops.Linear | ops.Experts):
        for tensor in (tensors[name] for name in op.weights):
            packing, cols = by_id(tensor.type).packing, tensor.shape[-1]
            if packing.kind != "code" and cols % 4:
                return f"no kernel for {cols} columns of {by_id(tensor.type).name}"
            if op.x.start % 4:
                return f"no kernel for products of columns from {op.x.start} on"
    return None
