"""A feed-forward of many experts, of which each row uses a few (arXiv:1701.06538, 2101.03961)."""

from __future__ import annotations

import math
from typing import Literal

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import Activation, View
from edgerun.models.components.feed_forward import FeedForward
from edgerun.models.components.norm import Norm


@dataclass(frozen=True)
class Routing:
    """How scores of `count` experts become the weights of `used`; the fields are those of `ops.Route`.

    bias: name of a tensor that is added for the ranking only; factors: of one that the weights are multiplied by. norm: of what the
    router reads, with weights ffn_gate_inp.scale, divided by the square root of its width.
    """

    count: int
    used: int
    gating: Literal["softmax", "sigmoid"] = "softmax"
    normalise: float | None = None
    bias: str | None = None
    groups: int = 1
    groups_used: int = 1
    group_best: int = 1
    factors: str | None = None
    scale: float = 1.0
    norm: Norm | None = None

    def emit(self, b: Builder, prefix: str, x: View) -> View:
        """The choice of each row: a view that `ops.Experts` reads."""
        if self.norm:
            h = b.buffer("router_in", x.width)
            self.norm.emit(b, x, h, f"{prefix}ffn_gate_inp.scale")
            b.add(ops.Scale(h, h, 1 / math.sqrt(x.width)))
            x = h
        logits, choice = b.buffer("router", self.count), b.buffer("choice", 2 * self.used)
        b.linear(x, logits, [(f"{prefix}ffn_gate_inp", self.count)])
        bias, factors = (b.weight(prefix + name, self.count) if name else None for name in (self.bias, self.factors))
        groups = (self.groups, self.groups_used, self.group_best)
        b.add(ops.Route(logits, choice, self.used, self.gating, self.normalise, bias, *groups, factors, self.scale))
        return choice


@dataclass(frozen=True)
class Clamp:
    """The bounded gate of gpt-oss; fields as in `ops.ClampedGate`."""

    slope: float
    limit: float


@dataclass(frozen=True)
class Experts:
    """Sum of weight * down(activation(gate) * up) over the chosen experts, or of weight * down(activation(up)) where kind is plain.

    width: of an expert. The file may hold gate and up in one stack of matrices. weigh: whether the weights multiply what experts
    make, or what they are given. shared: a feed-forward that every row uses (arXiv:2401.06066), whose result is added. norm: of
    what the experts read, with weights pre_ffw_norm_2; the router reads x as it is.
    """

    routing: Routing
    width: int
    activation: Activation | Clamp = "silu"
    kind: Literal["gated", "plain"] = "gated"
    weigh: Literal["output", "input"] = "output"
    shared: FeedForward | None = None
    norm: Norm | None = None

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the experts' sum over x, plus residual, to out."""
        assert x.buffer != out.buffer or not self.shared, "the shared feed-forward reads x after the experts wrote out"
        n, choice, h = self.routing, self.routing.emit(b, prefix, x), x
        if self.norm:
            h = b.buffer("experts_in", x.width)
            self.norm.emit(b, x, h, f"{prefix}pre_ffw_norm_2")
        act = self._hidden(b, prefix, h, choice)
        slots = b.buffer("slots", n.used * out.width)
        b.experts(act, choice, slots, n.count, self.width, [(f"{prefix}ffn_down_exps", out.width)])
        b.add(ops.Mix(slots, out, choice if self.weigh == "output" else None, residual))
        if self.shared:
            self.shared.emit(b, prefix, x, out, residual=out)

    def _stacks(self, b: Builder, prefix: str) -> list[tuple[str, int]]:
        """Names and rows of the stacks that make what the activation works on."""
        gate, up, both = (f"{prefix}ffn_{name}_exps" for name in ("gate", "up", "gate_up"))
        if self.kind == "plain":
            return [(up, self.width)]
        return [(both, 2 * self.width)] if b.has(f"{both}.weight") else [(gate, self.width), (up, self.width)]

    def _hidden(self, b: Builder, prefix: str, x: View, choice: View) -> View:
        """What the down matrices read: a slot for each chosen expert."""
        n, parts = self.routing, self._stacks(b, prefix)
        whole = b.buffer("expert_gu", n.used * sum(rows for _, rows in parts))
        b.experts(x, choice, whole, n.count, x.width, parts, biased=self.weigh == "output")
        if self.weigh == "input":   # of matrices without bias, what is multiplied may as well be the product
            for at in range(0, whole.width, whole.width // len(parts)):
                part = whole.part(at, whole.width // len(parts))
                b.add(ops.Weigh(part, choice, part))
        step, wide = self.width, n.used * self.width
        act = b.buffer("expert_act", wide)
        if self.kind == "plain":
            assert not isinstance(self.activation, Clamp), "a bounded gate needs a gate"
            b.add(ops.Activate(whole, act, self.activation))
        elif len(parts) > 1:   # the gates of all slots, then the ups of all slots
            self._gate(b, whole.part(0, wide), whole.part(wide, wide), act)
        else:                  # gate and up of one slot after another
            for at in range(0, wide, step):
                self._gate(b, whole.part(2 * at, step), whole.part(2 * at + step, step), act.part(at, step))
        return act

    def _gate(self, b: Builder, gate: View, up: View, out: View) -> None:
        if isinstance(self.activation, Clamp):
            b.add(ops.ClampedGate(gate, up, out, self.activation.slope, self.activation.limit))
        else:
            b.add(ops.Gate(gate, up, out, self.activation))
