"""What each op becomes on a device: one module for each family of ops, and the table of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from edgerun.backends.gpu.lowering import attention, experts, linear, rows
from edgerun.graph import ops

if TYPE_CHECKING:
    from edgerun.backends.gpu.recorder import Recorder

LOWERINGS: dict[type[ops.Op], Callable[[Recorder, Any], None]] = {
    ops.Linear: linear.linear,
    ops.Experts: experts.experts,
    ops.Route: experts.route,
    ops.Weigh: experts.weigh,
    ops.Mix: experts.mix,
    ops.Rope: attention.rope,
    ops.Store: attention.store,
    ops.Attention: attention.attention,
    ops.Embed: rows.embed,
    ops.Norm: rows.norm,
    ops.Gate: rows.gate,
    ops.ClampedGate: rows.clamped_gate,
    ops.Activate: rows.activate,
    ops.Add: rows.add,
    ops.Product: rows.product,
    ops.ScaleColumns: rows.scale_columns,
    ops.Scale: rows.scale,
    ops.Clamp: rows.clamp,
    ops.Softcap: rows.softcap,
    ops.Select: rows.select,
    ops.Hidden: rows.hidden,
}
