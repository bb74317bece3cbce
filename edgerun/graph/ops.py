"""The op vocabulary: what a model is made of, as frozen data over named buffers. Knows no backend and no file.

A buffer is float32 [rows, width]; rows is the number of rows of the batch, or of the rows asked for after `Select`.
An op reads and writes views (columns `start:start + width` of a buffer) and names weights by their tensor name.
Every op has a float64 twin in `backends/reference/`; the op suite holds every backend to it.
All ops but `Linear`, `HeadLinear`, `Experts`, `Attention` and those with a state (`Convolve`, `Scan`, `DeltaRule`) work on each row
by itself.

A state is what a recurrent op remembers of a sequence besides its rows: zero before position 0, changed by every row.
"""

from __future__ import annotations

from typing import Literal

from edgerun.dataclass import dataclass


@dataclass(frozen=True)
class View:
    """Columns start:start+width of a buffer."""

    buffer: str
    start: int
    width: int

    def part(self, start: int, width: int) -> View:
        """A view of some columns of this view."""
        assert 0 <= start <= start + width <= self.width, (self, start, width)
        return View(self.buffer, self.start + start, width)

    def slices(self, count: int, width: int, start: int = 0) -> Slices:
        """The `width` columns from `start` on of each of `count` equal parts of this view."""
        step = self.width // count
        assert step * count == self.width, (self, count)
        assert 0 <= start <= start + width <= step, (self, count, width, start)
        return Slices(self.part(start, width), count, step)


@dataclass(frozen=True)
class Slices:
    """`count` views, each `step` columns behind the one before; step 0: the same view again and again."""

    first: View
    count: int
    step: int

    @property
    def views(self) -> list[View]:
        """Each slice."""
        return [View(self.first.buffer, self.first.start + i * self.step, self.first.width) for i in range(self.count)]


@dataclass(frozen=True)
class Op:
    """One step of a program."""


@dataclass(frozen=True)
class Embed(Op):
    """out = table[token] * scale, plus positions[position] where that table is named (arXiv:1706.03762, learned).

    types: a table whose first row is added, that of the first type of token (arXiv:1810.04805, segment A).
    """

    out: View
    table: str
    scale: float = 1.0
    positions: str | None = None
    types: str | None = None


@dataclass(frozen=True)
class Norm(Op):
    """out = x normalised over each of `groups` equal parts, times weight, plus bias (weights have width / groups entries).

    rms: x / sqrt(mean(x^2) + eps) (arXiv:1910.07467); layer: (x - mean) / sqrt(var + eps) (arXiv:1607.06450).
    own: each group has weights of its own, [groups, width / groups].
    """

    x: View
    out: View
    weight: str | None
    eps: float
    kind: Literal["rms", "layer"] = "rms"
    groups: int = 1
    bias: str | None = None
    own: bool = False


@dataclass(frozen=True)
class Linear(Op):
    """out = concatenation of W_i x + b_i (W_i: [rows_i, x.width]), plus `residual` where given (may be `out` itself)."""

    x: View
    out: View
    weights: tuple[str, ...]
    biases: tuple[str | None, ...]
    residual: View | None = None


@dataclass(frozen=True)
class HeadLinear(Op):
    """out[h] = W[h] x[h]: a matrix for each slice, W: [slices, out width, x width]."""

    x: Slices
    out: Slices
    weight: str

    @property
    def weights(self) -> tuple[str]:
        """As those of `Linear`."""
        return (self.weight,)


@dataclass(frozen=True)
class Rope(Op):
    """Rotary embedding (arXiv:2104.09864) in place, over `heads` heads of equal width.

    Pair p of a head turns by position * frequencies[p]; cos and sin are multiplied by `magnitude`.
    neighbours: pairs (2p, 2p + 1); halves: pairs (p, p + n) with n = len(frequencies). Columns beyond 2n of a head stay.
    long: frequencies in sequences of more than `context` tokens, where they differ (arXiv:2402.13753).
    """

    x: View
    heads: int
    frequencies: tuple[float, ...]
    pairing: Literal["neighbours", "halves"]
    magnitude: float = 1.0
    long: tuple[float, ...] = ()
    context: int = 0


@dataclass(frozen=True)
class Temper(Op):
    """x *= 1 + beta * ln(1 + floor((position + offset) / length)): sharper attention far beyond `length` (arXiv:2501.19399)."""

    x: View
    beta: float
    length: int
    offset: int = 0


@dataclass(frozen=True)
class Store(Op):
    """Write keys and values of each row into the memory of cache `cache` at the row's position."""

    k: View
    v: View
    cache: int


@dataclass(frozen=True)
class Attention(Op):
    """out = softmax(scale * q k) v over the positions of the row's sequence up to its own.

    causal: False is up to the last one that the sequence has in the batch, so that all of a text belongs into one step.
    q holds `heads` heads; consecutive heads / kv_heads of them share a key/value head of cache `cache`.
    window: only the last `window` positions, the own included. chunk: only positions p with p // chunk as the row's own.
    softcap: scores become cap * tanh(s / cap).
    sinks: name of a [heads] tensor of logits that take part in the softmax and carry no value.
    slopes: one for each head; a score loses slope * (own position - key's position) after all else (ALiBi, arXiv:2108.12409).
    """

    q: View
    out: View
    cache: int
    heads: int
    scale: float
    window: int | None = None
    softcap: float | None = None
    sinks: str | None = None
    chunk: int | None = None
    slopes: tuple[float, ...] | None = None
    causal: bool = True


@dataclass(frozen=True)
class Convolve(Op):
    """out[t] = bias + sum over j of weight[:, j] * x[t - taps + 1 + j]: each column by itself, over the rows of its sequence.

    weight: [width, taps]; state `state` holds the last taps - 1 rows of x, [taps - 1, width]. out may be x.
    """

    x: View
    out: View
    weight: str
    bias: str | None
    taps: int
    state: int


@dataclass(frozen=True)
class Scan(Op):
    """Selective state space (arXiv:2312.00752; with one a per head arXiv:2405.21060), over the rows of each sequence in order.

    h = exp(dt * a) * h + dt * x * b; out = sum over n of h * c, plus d * x; for each column of x, h being [n] numbers.
    dt, a and d: one for each of `heads` heads of columns (then a is [heads]), or, with one head, for each column (a is [width, n]).
    b, c: [groups, n]; consecutive columns share a group. State `state`: [heads, n, width / heads].
    """

    x: View
    dt: View
    b: View
    c: View
    out: View
    a: str
    d: str
    heads: int
    groups: int
    state: int


@dataclass(frozen=True)
class DeltaRule(Op):
    """Gated delta rule (arXiv:2412.06464) over the rows of each sequence in order.

    For each of `heads` heads: s = exp(dt * a) * s; s = s + k (beta * (v - s^T k))^T; out = s^T q.
    q and k hold `key_heads` heads; head j uses key head j // (heads / key_heads), or j % key_heads where `tiled`.
    beta, dt: one number per head; a: [heads]. State `state`: [heads, key width, value width].
    """

    q: View
    k: View
    v: View
    beta: View
    dt: View
    out: View
    a: str
    heads: int
    key_heads: int
    state: int
    tiled: bool = False


Activation = Literal["silu", "gelu", "gelu_erf", "relu", "relu2", "sigmoid"]   # gelu: the tanh form


@dataclass(frozen=True)
class Xielu:
    """xIELU (arXiv:2411.13010): positive * x^2 + beta * x above 0, else negative * (exp(min(x, eps)) - 1 - x) + beta * x."""

    positive: float
    negative: float
    beta: float
    eps: float


@dataclass(frozen=True)
class Gate(Op):
    """out = activation(gate) * up; the gate is as wide as up, or one column for all of it."""

    gate: View
    up: View
    out: View
    activation: Activation


@dataclass(frozen=True)
class ClampedGate(Op):
    """out = g * sigmoid(slope * g) * (u + 1), g being the gate up to `limit`, u being up within +-limit (arXiv:2508.10925)."""

    gate: View
    up: View
    out: View
    slope: float
    limit: float


@dataclass(frozen=True)
class Route(Op):
    """Which `used` experts each row goes to, and with which weights (arXiv:1701.06538).

    logits: [n], one per expert. choice: 2 * used columns: the numbers of the experts, best first and the lower one of equals,
    then their weights. Scores are the softmax or the sigmoid of the logits; what is ranked is score + bias (a tensor [n],
    arXiv:2408.15664). groups: experts n/groups at a time; only those of the `groups_used` best groups take part, a group being
    worth the sum of its `group_best` best experts (arXiv:2405.04434, 2412.19437). normalise: where given, the weights of a row
    are divided by their sum + normalise. In the end weights are multiplied by `factors` (a tensor [n]) and `scale`.
    """

    logits: View
    choice: View
    used: int
    gating: Literal["softmax", "sigmoid"]
    normalise: float | None = None
    bias: str | None = None
    groups: int = 1
    groups_used: int = 1
    group_best: int = 1
    factors: str | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class Experts(Op):
    """out = for each W of `weights`, for each slot j of the row: W[id_j] x_j + b[id_j], one after another.

    W: [count, rows, cols], b: [count, rows]. The ids are those of `choice`, a view that `Route` filled. x is `cols` wide, and then
    shared by all slots, or holds one of such a width for each.
    """

    x: View
    choice: View
    out: View
    count: int
    cols: int
    weights: tuple[str, ...]
    biases: tuple[str | None, ...]

    @property
    def used(self) -> int:
        """Slots of a row."""
        return self.choice.width // 2


@dataclass(frozen=True)
class Weigh(Op):
    """out = slots of x, each times its weight in `choice`."""

    x: View
    choice: View
    out: View


@dataclass(frozen=True)
class Mix(Op):
    """out = sum over the slots of x, each times its weight where there is a `choice`, plus `residual` where given (may be `out`)."""

    x: View
    out: View
    choice: View | None
    residual: View | None = None


@dataclass(frozen=True)
class Activate(Op):
    """out = activation(x)."""

    x: View
    out: View
    activation: Activation | Xielu


@dataclass(frozen=True)
class Add(Op):
    """out = x + y."""

    x: View
    y: View
    out: View


@dataclass(frozen=True)
class Product(Op):
    """out = x * y."""

    x: View
    y: View
    out: View


@dataclass(frozen=True)
class Softplus(Op):
    """out = ln(1 + e^(x + bias)); bias has an entry for each column, None is 0."""

    x: View
    out: View
    bias: str | None = None


@dataclass(frozen=True)
class Arrange(Op):
    """Block i of out = block order[i] of x, where a block is `block` columns. out must not be x."""

    x: View
    out: View
    block: int
    order: tuple[int, ...]


@dataclass(frozen=True)
class ScaleColumns(Op):
    """out = x * weight, column by column."""

    x: View
    out: View
    weight: str


@dataclass(frozen=True)
class Cutoff(Op):
    """out = max(0, x - (mean + deviations * std)) over the row: statistical top-k (arXiv:2506.06644).

    std is that of the population: of the mean of the squares, not of their sum over n - 1.
    """

    x: View
    out: View
    deviations: float


@dataclass(frozen=True)
class Blend(Op):
    """out_i = y_i + sum over j of (c_ij + plus) * x_j: streams of equal width side by side, mixed by numbers of the row (arXiv:2301.13310).

    x holds n streams, y and out m (out may be y), coefficients m * n numbers, those of out_0 first.
    """

    x: View
    coefficients: View
    y: View
    out: View
    streams: int   # m
    plus: float = 0.0


@dataclass(frozen=True)
class Match(Op):
    """out = x * sqrt(mean(like^2) / max(mean(x^2), floor)): x with the magnitude of `like`."""

    x: View
    like: View
    out: View
    floor: float


@dataclass(frozen=True)
class Scale(Op):
    """out = x * factor."""

    x: View
    out: View
    factor: float


@dataclass(frozen=True)
class Copy(Op):
    """out[i] = x[i], slice by slice."""

    x: Slices
    out: Slices


@dataclass(frozen=True)
class Clamp(Op):
    """out = x, but at least -limit and at most limit."""

    x: View
    out: View
    limit: float


@dataclass(frozen=True)
class Softcap(Op):
    """out = cap * tanh(x / cap)."""

    x: View
    out: View
    cap: float


@dataclass(frozen=True)
class Select(Op):
    """out = the rows of x whose logits are asked for; every later op works on these rows only, but for another `Select`, whose x has all rows."""

    x: View
    out: View


@dataclass(frozen=True)
class Hidden(Op):
    """x holds the hidden rows of the rows asked for: a step that is asked for these instead of logits ends here."""

    x: View


# What mixes rows, or knows tokens, positions and sequences by the row of the batch, and so cannot come behind `Select`.
LOCATED = (Embed, Rope, Temper, Store, Attention, Convolve, Scan, DeltaRule)
