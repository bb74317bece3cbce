"""Short convolutions over the positions of a sequence, each column by itself."""

from __future__ import annotations

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import Activation, View


@dataclass(frozen=True)
class Convolution:
    """A causal convolution over the last `taps` positions, the own included; activation: of its result, None for none."""

    taps: int
    activation: Activation | None = "silu"

    def emit(self, b: Builder, name: str, x: View, out: View) -> None:
        """Write the convolution of x with tensors `name`.weight and, where the file has one, `name`.bias to out, which may be x."""
        weight, bias = b.weight(f"{name}.weight", x.width, self.taps), b.optional(f"{name}.bias", x.width)
        b.add(ops.Convolve(x, out, weight, bias, self.taps, b.state(self.taps - 1, x.width)))
        if self.activation:
            b.add(ops.Activate(out, out, self.activation))


@dataclass(frozen=True)
class ShortConvolution:
    """The gated short convolution of LFM2 (arXiv:2511.23404): out(c * convolution(b * x)), where one matrix makes b, c and x."""

    convolution: Convolution

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the mixed rows of x, plus residual, to out."""
        n = x.width
        bcx = b.buffer("bcx", 3 * n)
        b.linear(x, bcx, [(f"{prefix}shortconv.in_proj", bcx.width)])
        before, after, y = (bcx.part(i * n, n) for i in range(3))
        b.add(ops.Product(before, y, y))
        self.convolution.emit(b, f"{prefix}shortconv.conv", y, y)
        b.add(ops.Product(after, y, y))
        b.linear(y, out, [(f"{prefix}shortconv.out_proj", out.width)], residual)
