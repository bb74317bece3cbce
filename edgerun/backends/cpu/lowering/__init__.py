"""What each op becomes on the CPU: one function per op, (phases, op), that adds kernels, argument blocks and chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgerun.backends.cpu.lowering import attention, experts, linear, recurrent, rows, streams
from edgerun.graph import ops

LOWERINGS: dict[type[ops.Op], Callable[[Any, Any], None]] = {
    ops.Embed: rows.embed,
    ops.Norm: rows.norm,
    ops.Linear: linear.linear,
    ops.HeadLinear: linear.head_linear,
    ops.Rope: rows.rope,
    ops.Temper: rows.temper,
    ops.Store: attention.store,
    ops.Attention: attention.attention,
    ops.Convolve: recurrent.convolve,
    ops.Scan: recurrent.scan,
    ops.DeltaRule: recurrent.delta_rule,
    ops.Gate: rows.gate,
    ops.ClampedGate: rows.clamped_gate,
    ops.Route: experts.route,
    ops.Experts: experts.experts,
    ops.Weigh: experts.weigh,
    ops.Mix: experts.mix,
    ops.Activate: rows.activate,
    ops.Add: rows.add,
    ops.Product: rows.product,
    ops.Softplus: rows.softplus,
    ops.Arrange: rows.arrange,
    ops.ScaleColumns: rows.scale_columns,
    ops.Cutoff: rows.cutoff,
    ops.Blend: streams.blend,
    ops.Match: streams.match,
    ops.Scale: rows.scale,
    ops.Copy: rows.copy,
    ops.Clamp: rows.clamp,
    ops.Softcap: rows.softcap,
    ops.Select: rows.select,
    ops.Hidden: rows.hidden,
}
