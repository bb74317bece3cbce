"""Selective state spaces: the mixers of Mamba and Mamba 2."""

from __future__ import annotations

from edgerun.dataclass import dataclass
from edgerun.graph import ops
from edgerun.graph.builder import Builder
from edgerun.graph.ops import View
from edgerun.models.components.convolution import Convolution
from edgerun.models.components.norm import Norm


@dataclass(frozen=True)
class Mamba:
    """Mamba (arXiv:2312.00752): out(scan(silu(convolution(x))) * silu(z)), each column with its own step and decay.

    inner: columns; n: numbers of state per column; rank: width of what the steps are made of. dt_b_c_norm: eps of RMS norms
    without weights on that, b and c (arXiv:2410.05355).
    """

    inner: int
    n: int
    rank: int
    convolution: Convolution
    dt_b_c_norm: float | None = None

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the mixed rows of x, plus residual, to out."""
        xz = b.buffer("ssm_in", 2 * self.inner)
        b.linear(x, xz, [(f"{prefix}ssm_in", xz.width)])
        u, z = xz.part(0, self.inner), xz.part(self.inner, self.inner)
        self.convolution.emit(b, f"{prefix}ssm_conv1d", u, u)
        few = b.buffer("ssm_x", self.rank + 2 * self.n)
        b.linear(u, few, [(f"{prefix}ssm_x", few.width)])
        parts = few.part(0, self.rank), few.part(self.rank, self.n), few.part(self.rank + self.n, self.n)
        if self.dt_b_c_norm is not None:
            for part in parts:
                b.add(ops.Norm(part, part, None, self.dt_b_c_norm))
        dt = b.buffer("dt", self.inner)
        b.linear(parts[0], dt, [(f"{prefix}ssm_dt", self.inner)])
        b.add(ops.Softplus(dt, dt))
        a, d = b.weight(f"{prefix}ssm_a", self.inner, self.n), b.weight(f"{prefix}ssm_d", self.inner)
        y = b.buffer("ssm", self.inner)
        b.add(ops.Scan(u, dt, *parts[1:], y, a, d, 1, 1, b.state(1, self.n, self.inner)))
        b.add(ops.Gate(z, y, y, "silu"))
        b.linear(y, out, [(f"{prefix}ssm_out", out.width)], residual)


@dataclass(frozen=True)
class Mamba2:
    """Mamba 2 (arXiv:2405.21060): out(norm(scan(silu(convolution(x, b, c))) * silu(z))), with one step and decay per head.

    inner: columns in `heads` heads; n: numbers of state per column; groups: of b and c, and of the norm. norm: None for none.
    """

    inner: int
    n: int
    heads: int
    groups: int
    convolution: Convolution
    norm: Norm | None

    def emit(self, b: Builder, prefix: str, x: View, out: View, residual: View | None = None) -> None:
        """Write the mixed rows of x, plus residual, to out."""
        inner, few = self.inner, self.groups * self.n
        every = b.buffer("ssm_in", 2 * inner + 2 * few + self.heads)
        b.linear(x, every, [(f"{prefix}ssm_in", every.width)])
        z, ubc, dt = every.part(0, inner), every.part(inner, inner + 2 * few), every.part(2 * inner + 2 * few, self.heads)
        self.convolution.emit(b, f"{prefix}ssm_conv1d", ubc, ubc)
        b.add(ops.Softplus(dt, dt, b.weight(f"{prefix}ssm_dt.bias", self.heads)))
        a, d = b.weight(f"{prefix}ssm_a", self.heads, 1), b.weight(f"{prefix}ssm_d", self.heads, 1)
        y, u, state = b.buffer("ssm", inner), ubc.part(0, inner), b.state(self.heads, self.n, inner // self.heads)
        b.add(ops.Scan(u, dt, ubc.part(inner, few), ubc.part(inner + few, few), y, a, d, self.heads, self.groups, state))
        b.add(ops.Gate(z, y, y, "silu"))
        if self.norm:
            self.norm.emit(b, y, y, f"{prefix}ssm_norm", self.groups, own=True)
        b.linear(y, out, [(f"{prefix}ssm_out", out.width)], residual)
