"""The reference twins against definitions worked out by hand, one op at a time."""

import math
from dataclasses import replace

import numpy as np
import pytest
from fake_tensor import FakeTensor

from edgerun.backends import reference
from edgerun.backends.executor import Batch
from edgerun.backends.reference.executor import TWINS
from edgerun.graph import ops
from edgerun.graph.ops import View
from edgerun.graph.program import Cache, Program


def run(op_list, x, *, widths=None, weights=None, caches=(), states=(), positions=None, outputs=None, hidden=False, lengths=None):
    """Feed rows `x` through ops from buffer x to buffer y, on one fresh sequence; what y holds then."""
    x = np.asarray(x, np.float32)
    n = len(x)
    table = {"rows": x} | {name: np.asarray(value, np.float32) for name, value in (weights or {}).items()}
    widths = {"x": x.shape[1], "y": x.shape[1]} | (widths or {})
    program = Program((ops.Embed(View("x", 0, x.shape[1]), "rows"), *op_list), widths, tuple(caches), frozenset(table), widths["y"], "y", tuple(states))
    executor = reference.compile(program, {name: FakeTensor(name, values) for name, values in table.items()}, pages=2)
    positions = np.arange(n) if positions is None else np.asarray(positions)
    outputs = np.arange(n) if outputs is None else np.asarray(outputs, int)
    lengths = None if lengths is None else np.array(lengths)
    return executor.step(Batch(np.arange(n), positions, np.zeros(n, int), np.array([[1, 0]]), outputs, hidden, lengths=lengths))


X, Y = View("x", 0, 4), View("y", 0, 4)
ROWS = [[1.0, -2.0, 3.0, 4.0], [0.5, 0.0, -1.0, 2.0]]


def test_every_op_has_a_twin() -> None:
    every = {op for op in vars(ops).values() if isinstance(op, type) and issubclass(op, ops.Op) and op is not ops.Op}
    assert set(TWINS) == every


def test_embed_adds_the_rows_of_positions() -> None:
    places = [[1, 1, 1, 1], [2, 2, 2, 2], [0, 0, 0, 9]]
    got = run([ops.Embed(Y, "rows", 2.0, "places")], ROWS, weights={"places": places}, positions=[1, 2])
    assert got.tolist() == [[4, -2, 8, 10], [1, 0, -2, 13]]


def test_embed_scales_rows() -> None:
    assert run([ops.Embed(Y, "rows", 2.0)], ROWS).tolist() == [[2, -4, 6, 8], [1, 0, -2, 4]]


def test_embed_adds_the_first_type() -> None:
    got = run([ops.Embed(Y, "rows", 2.0, "places", "types")], ROWS, weights={"places": [[1.0] * 4, [2.0] * 4, [3.0] * 4], "types": [[0.0, 0, 0, 10], [9.0] * 4]}, positions=[2, 1])
    assert got.tolist() == [[5, -1, 9, 21], [3, 2, 0, 16]]


def test_hidden_rows_end_a_step_that_asks_for_them() -> None:
    steps = [ops.Select(X, Y), ops.Hidden(Y), ops.Scale(Y, Y, 2.0)]
    assert run(steps, ROWS, outputs=[1]).tolist() == [[1, 0, -2, 4]]
    assert run(steps, ROWS, outputs=[1], hidden=True).tolist() == [ROWS[1]]


def test_rms_norm() -> None:
    got = run([ops.Norm(X, Y, "w", 0.5)], ROWS, weights={"w": [1, 2, 3, 4]})
    want = [[v * w / math.sqrt(sum(u * u for u in row) / 4 + 0.5) for v, w in zip(row, [1, 2, 3, 4], strict=True)] for row in ROWS]
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_layer_norm_with_bias() -> None:
    got = run([ops.Norm(X, Y, "w", 0.25, "layer", bias="b")], ROWS, weights={"w": [2, 2, 2, 2], "b": [1, 0, 0, 0]})
    for row, y in zip(np.array(ROWS), got, strict=True):
        np.testing.assert_allclose(y, 2 * (row - row.mean()) / math.sqrt(row.var() + 0.25) + [1, 0, 0, 0], rtol=1e-6)


def test_norm_in_groups_uses_one_weight_for_all() -> None:
    got = run([ops.Norm(X, Y, "w", 0.0, groups=2)], [[3.0, 4.0, 0.0, 2.0]], weights={"w": [1, 10]})
    np.testing.assert_allclose(got, [[3 / math.sqrt(12.5), 40 / math.sqrt(12.5), 0, 10 * math.sqrt(2)]], rtol=1e-6)


def test_norm_in_groups_with_weights_of_their_own() -> None:
    w, b = np.array([[1.0, 10], [2, 3]]), np.array([[0.0, 1], [2, 3]])
    got = run([ops.Norm(X, Y, "w", 0.25, "layer", groups=2, bias="b", own=True)], ROWS, weights={"w": w, "b": b})
    for row, y in zip(np.array(ROWS).reshape(2, 2, 2), got, strict=True):
        for part, weight, bias, z in zip(row, w, b, y.reshape(2, 2), strict=True):
            np.testing.assert_allclose(z, weight * (part - part.mean()) / math.sqrt(part.var() + 0.25) + bias, rtol=1e-6)


def test_norm_without_weight() -> None:
    np.testing.assert_allclose(run([ops.Norm(X, Y, None, 0.0)], [[2.0, 2, 2, 2]]), [[1, 1, 1, 1]])


def test_linear_concatenates_adds_bias_and_residual() -> None:
    op = ops.Linear(X, Y, ("a", "b"), (None, "bias"), residual=X)
    got = run([op], ROWS, weights={"a": [[1, 0, 0, 0], [0, 1, 0, 0]], "b": [[1, 1, 1, 1], [0, 0, 0, 2]], "bias": [10, 20]})
    assert got.tolist() == [[1 + 1, -2 - 2, 6 + 10 + 3, 8 + 20 + 4], [0.5 + 0.5, 0, 1.5 + 10 - 1, 4 + 20 + 2]]


def test_linear_may_write_where_it_reads() -> None:
    got = run([ops.Linear(X, X, ("w",), (None,), residual=X), ops.Scale(X, Y, 1.0)], ROWS, weights={"w": np.eye(4)[::-1]})
    np.testing.assert_allclose(got, np.array(ROWS) + np.array(ROWS)[:, ::-1])


@pytest.mark.parametrize(("pairing", "pairs"), [("neighbours", [(0, 1), (2, 3)]), ("halves", [(0, 2), (1, 3)])])
def test_rope_turns_pairs(pairing: str, pairs: list[tuple[int, int]]) -> None:
    got = run([ops.Rope(X, 1, (1.0, 0.1), pairing, magnitude=2.0), ops.Scale(X, Y, 1.0)], ROWS, positions=[0, 5])
    np.testing.assert_allclose(got[0], 2 * np.array(ROWS[0]))
    for (a, b), frequency in zip(pairs, (1.0, 0.1), strict=True):
        turned = 2 * complex(ROWS[1][a], ROWS[1][b]) * np.exp(1j * 5 * frequency)
        np.testing.assert_allclose([got[1][a], got[1][b]], [turned.real, turned.imag], rtol=1e-6)


def test_rope_leaves_what_is_beyond_its_width_and_turns_each_head() -> None:
    got = run([ops.Rope(X, 2, (1.0,), "halves"), ops.Scale(X, Y, 1.0)], [[1.0, 0, 1, 0]], positions=[1])
    np.testing.assert_allclose(got, [[math.cos(1), math.sin(1), math.cos(1), math.sin(1)]], rtol=1e-6)
    got = run([ops.Rope(X, 1, (1.0,), "halves"), ops.Scale(X, Y, 1.0)], [[1.0, 0, 7, 8]], positions=[1])
    np.testing.assert_allclose(got, [[math.cos(1), math.sin(1), 7, 8]], rtol=1e-6)


ACTIVATIONS = {
    "silu": lambda x: x / (1 + math.exp(-x)),
    "gelu": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_erf": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "relu": lambda x: max(x, 0),
    "relu2": lambda x: max(x, 0) ** 2,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activate_and_gate(kind: str) -> None:
    want = [[ACTIVATIONS[kind](v) for v in row] for row in ROWS]
    np.testing.assert_allclose(run([ops.Activate(X, Y, kind)], ROWS), want, rtol=1e-6)
    gated = run([ops.Gate(X.part(0, 2), X.part(2, 2), Y.part(0, 2), kind)], ROWS)
    np.testing.assert_allclose(gated[:, :2], np.array(want)[:, :2] * np.array(ROWS)[:, 2:], rtol=1e-6)


@pytest.mark.parametrize("eps", [-1e-6, -0.5])
def test_xielu(eps: float) -> None:
    def xielu(x: float) -> float:
        return 0.8 * x * x + 0.5 * x if x > 0 else 1.3 * (math.expm1(min(x, eps)) - x) + 0.5 * x

    op = ops.Activate(X, Y, ops.Xielu(0.8, 1.3, 0.5, eps))
    np.testing.assert_allclose(run([op], ROWS), [[xielu(v) for v in row] for row in ROWS], rtol=1e-6)


def test_long_frequencies_turn_all_rows_of_a_sequence_that_is_long_enough() -> None:
    op = ops.Rope(X, 1, (1.0, 0.1), "halves", long=(0.5, 0.05), context=9)
    short, long = (run([replace(op, frequencies=f, long=()), ops.Scale(X, Y, 1.0)], ROWS, positions=[3, 4]) for f in (op.frequencies, op.long))
    for lengths, want in ((None, short), ([9], short), ([10], long)):
        np.testing.assert_array_equal(run([op, ops.Scale(X, Y, 1.0)], ROWS, positions=[3, 4], lengths=lengths), want)
    np.testing.assert_array_equal(run([op, ops.Scale(X, Y, 1.0)], ROWS, positions=[8, 9]), run([replace(op, context=0), ops.Scale(X, Y, 1.0)], ROWS, positions=[8, 9]))


def test_silu_of_very_negative_values_is_zero() -> None:
    with np.errstate(over="raise"):
        assert run([ops.Activate(X, Y, "silu")], [[-1e4, -800.0, 0.0, 1e4]]).tolist() == [[0, 0, 0, 1e4]]


def test_clamp() -> None:
    assert run([ops.Clamp(X, Y, 1.5)], ROWS).tolist() == [[1, -1.5, 1.5, 1.5], [0.5, 0, -1, 1.5]]


def test_add_scale_softcap() -> None:
    assert run([ops.Add(X, X, Y), ops.Scale(Y, Y, 0.5)], ROWS).tolist() == ROWS
    np.testing.assert_allclose(run([ops.Softcap(X, Y, 3.0)], ROWS), 3 * np.tanh(np.array(ROWS) / 3), rtol=1e-6)


def test_head_linear_has_a_matrix_for_each_slice() -> None:
    # Slices of two columns become slices of one, two columns apart.
    op = ops.HeadLinear(X.slices(2, 2), Y.slices(2, 1), "w")
    got = run([op], ROWS, weights={"w": [[[1, 10]], [[2, -1]]]})
    assert got.tolist() == [[1 - 20, 0, 6 - 4, 0], [0.5, 0, -2 - 2, 0]]


def test_copy_moves_slices_and_repeats_one() -> None:
    assert run([ops.Copy(X.slices(2, 1, 1), Y.slices(2, 1))], ROWS).tolist() == [[-2, 0, 4, 0], [0, 0, 2, 0]]
    assert run([ops.Copy(ops.Slices(X.part(2, 1), 2, 0), Y.slices(2, 1))], ROWS).tolist() == [[3, 0, 3, 0], [-1, 0, -1, 0]]


def test_select_keeps_the_rows_asked_for() -> None:
    assert run([ops.Select(X, Y)], [*ROWS, [9.0, 9, 9, 9]], outputs=[0, 2]).tolist() == [ROWS[0], [9, 9, 9, 9]]
    assert run([ops.Select(X, X), ops.Add(X, X, Y)], ROWS, outputs=[1]).tolist() == [[1, 0, -2, 4]]
    assert run([ops.Select(X, Y)], ROWS, outputs=[]).shape == (0, 4)


def attend(rows, **options):
    """Attention of two heads over one key/value head; columns: q0 q1 k v, each one wide."""
    weights = {"sinks": options.pop("sink_values")} if "sink_values" in options else {}
    op = ops.Attention(View("x", 0, 2), View("y", 0, 2), 0, heads=2, scale=0.5, **options)
    store = ops.Store(View("x", 2, 1), View("x", 3, 1), 0)
    return run([store, op], rows, widths={"y": 2}, weights=weights, caches=[Cache(1, 1, 1)])


def by_hand(rows, window=None, softcap=None, sinks=None, chunk=None, slopes=(0, 0)):
    result = []
    for i, row in enumerate(rows):
        first = max(0, i + 1 - window) if window else i // chunk * chunk if chunk else 0
        seen = rows[first : i + 1]
        heads = []
        for head in range(2):
            scores = [0.5 * row[head] * k for _, _, k, _ in seen]
            scores = [softcap * math.tanh(s / softcap) for s in scores] if softcap else scores
            scores = [s - slopes[head] * (i - j) for j, s in enumerate(scores, first)]
            total = sum(map(math.exp, scores)) + (math.exp(sinks[head]) if sinks else 0)
            heads.append(sum(math.exp(s) * v for s, (_, _, _, v) in zip(scores, seen, strict=True)) / total)
        result.append(heads)
    return result


RANDOM = np.random.default_rng(1).normal(size=(9, 4)).round(3).tolist()


@pytest.mark.parametrize("options", [
    {}, {"window": 1}, {"window": 3}, {"window": 100}, {"softcap": 0.7}, {"window": 4, "softcap": 2.0}, {"chunk": 4}, {"chunk": 1},
    {"slopes": (0.5, 0.01)}, {"slopes": (0.5, 2.0), "window": 4, "softcap": 2.0},
])  # fmt: skip
def test_attention(options: dict) -> None:
    np.testing.assert_allclose(attend(RANDOM, **options), by_hand(RANDOM, **options), rtol=1e-5)


def test_attention_over_the_whole_text() -> None:
    whole = [by_hand([*RANDOM[:i], *RANDOM[i + 1 :], RANDOM[i]])[-1] for i in range(len(RANDOM))]
    np.testing.assert_allclose(attend(RANDOM, causal=False), whole, rtol=1e-5, atol=1e-7)


def test_attention_with_sinks() -> None:
    np.testing.assert_allclose(attend(RANDOM, sinks="sinks", sink_values=[0.5, -1.0]), by_hand(RANDOM, sinks=[0.5, -1.0]), rtol=1e-5)


def test_attention_survives_large_scores() -> None:
    rows = [[1e4, -1e4, 1e4, 1.0], [1e4, 1e4, -1e4, 2.0]]
    np.testing.assert_allclose(attend(rows), [[1, 1], [1, 1]])


def test_consecutive_heads_share_a_key_value_head() -> None:
    # Four query heads, two key/value heads; k = 0, so every head sees its key/value head's value.
    rows = [[1.0, 1, 1, 1, 0, 0, 5, 7]]
    op = ops.Attention(View("x", 0, 4), View("y", 0, 4), 0, heads=4, scale=1.0)
    got = run([ops.Store(View("x", 4, 2), View("x", 6, 2), 0), op], rows, widths={"y": 4}, caches=[Cache(2, 1, 1)])
    assert got.tolist() == [[5, 5, 7, 7]]


def test_a_gate_of_one_column_is_for_all() -> None:
    got = run([ops.Gate(X.part(3, 1), X, Y, "relu")], ROWS)
    np.testing.assert_allclose(got, np.array(ROWS) * [[4], [2]])


def test_clamped_gate() -> None:
    got = run([ops.ClampedGate(X.part(0, 2), X.part(2, 2), Y.part(0, 2), 1.5, 2.5)], ROWS)[:, :2]
    for row, y in zip(ROWS, got, strict=True):
        pairs = [(min(g, 2.5), max(-2.5, min(u, 2.5))) for g, u in zip(row[:2], row[2:], strict=True)]
        np.testing.assert_allclose(y, [g / (1 + math.exp(-1.5 * g)) * (u + 1) for g, u in pairs], rtol=1e-6)


def chosen(rows, used, weights=None, **options):
    """Ids and weights of each row."""
    n = len(rows[0])
    op = ops.Route(View("x", 0, n), View("y", 0, 2 * used), used, **{"gating": "softmax"} | options)
    got = run([op], rows, widths={"y": 2 * used}, weights=weights)
    return got[:, :used].astype(int).tolist(), got[:, used:]


def test_route_takes_the_best_and_of_equals_the_first() -> None:
    ids, weights = chosen([[0.0, 2, 1, 2], [1.0, 1, 1, 1]], 3)
    assert ids == [[1, 3, 2], [0, 1, 2]]
    total = 1 + 2 * math.exp(2) + math.exp(1)
    np.testing.assert_allclose(weights, [[math.exp(2) / total, math.exp(2) / total, math.exp(1) / total], [0.25] * 3], rtol=1e-6)


def test_route_normalises_scales_and_multiplies() -> None:
    _, weights = chosen([[0.0, 2, 1]], 2, {"f": [1, 10, 100]}, normalise=0.0, scale=3.0, factors="f")
    first = math.exp(2) / (math.exp(2) + math.exp(1))
    np.testing.assert_allclose(weights, [[30 * first, 300 * (1 - first)]], rtol=1e-6)


def test_a_bias_ranks_and_does_not_weigh() -> None:
    ids, weights = chosen([[0.0, 2, 1]], 1, {"b": [5, 0, 0]}, gating="sigmoid", bias="b", normalise=None)
    assert ids == [[0]]
    np.testing.assert_allclose(weights, [[0.5]])


def test_only_the_best_groups_take_part() -> None:
    rows = [[9.0, -9, 5, 6, 7, -8]]
    assert chosen(rows, 2, groups=3, groups_used=1, group_best=1)[0] == [[0, 1]]
    assert chosen(rows, 2, gating="sigmoid", groups=3, groups_used=1, group_best=2)[0] == [[3, 2]]
    assert chosen(rows, 3, gating="sigmoid", groups=3, groups_used=2, group_best=2)[0] == [[0, 3, 2]]


W = np.arange(12.0).reshape(3, 2, 2)
CHOICE = [[2.0, 0, 0.5, 0.25]]   # experts 2 and 0 with these weights


def test_experts_share_their_input_or_have_each_their_own() -> None:
    rows = [CHOICE[0] + [1.0, 2.0, 3.0, 4.0]]
    shared = ops.Experts(View("x", 4, 2), View("x", 0, 4), View("y", 0, 8), 3, 2, ("w", "w"), ("b", None))
    got = run([shared], rows, widths={"y": 8}, weights={"w": W, "b": [[1, 2], [3, 4], [5, 6]]})
    want = [W[2] @ [1, 2] + [5, 6], W[0] @ [1, 2] + [1, 2], W[2] @ [1, 2], W[0] @ [1, 2]]
    np.testing.assert_allclose(got[0], np.concatenate(want))
    own = ops.Experts(View("x", 4, 4), View("x", 0, 4), View("y", 0, 4), 3, 2, ("w",), (None,))
    np.testing.assert_allclose(run([own], rows, widths={"y": 4}, weights={"w": W})[0], np.concatenate([W[2] @ [1, 2], W[0] @ [3, 4]]))


def test_slots_are_weighed_and_mixed() -> None:
    x, choice = View("x", 4, 4), View("x", 0, 4)
    rows = [CHOICE[0] + [1.0, 2.0, 3.0, 4.0]]
    assert run([ops.Weigh(x, choice, Y)], rows, widths={"y": 4}).tolist() == [[0.5, 1, 0.75, 1]]
    y = View("y", 0, 2)
    assert run([ops.Mix(x, y, choice, x.part(0, 2))], rows, widths={"y": 2}).tolist() == [[1.25 + 1, 2 + 2]]
    assert run([ops.Mix(x, y, None)], rows, widths={"y": 2}).tolist() == [[4, 6]]


def test_temper_grows_at_multiples_of_the_length() -> None:
    rows = [[1.0, 2.0, 3.0, 4.0]] * 4
    got = run([ops.Temper(X, 0.5, 8), ops.Scale(X, Y, 1.0)], rows, positions=[0, 7, 8, 23])
    np.testing.assert_allclose(got[:, 0], [1, 1, 1 + 0.5 * math.log(2), 1 + 0.5 * math.log(3)], rtol=1e-6)
    assert run([ops.Temper(X, 0.5, 8, 1), ops.Scale(X, Y, 1.0)], rows[:2], positions=[6, 7])[1, 0] == pytest.approx(1 + 0.5 * math.log(2))


# ---- recurrent state ---------------------------------------------------------------------------------------------------------


def test_convolve_sees_the_last_taps() -> None:
    x, w, b = [[1.0, -2.0], [3.0, 0.5], [2.0, 1.0]], [[0.5, 2.0, -1.0], [1.0, 0.0, 3.0]], [0.25, 0.0]
    op = ops.Convolve(View("x", 0, 2), View("y", 0, 2), "w", "b", 3, 0)
    got = run([op], x, widths={"y": 2}, weights={"w": w, "b": b}, states=((2, 2),))
    want = [
        [0.25 - 1, 3 * -2.0],
        [0.25 + 2 * 1 - 3, 3 * 0.5],
        [0.25 + 0.5 * 1 + 2 * 3 - 2, -2.0 + 3 * 1.0],
    ]
    np.testing.assert_allclose(got, want, rtol=1e-6)


def test_scan_by_head() -> None:
    """Two heads of one column, which share b and c of two numbers."""
    rows = [[1.0, 2.0, 0.5, 0.25, 1.0, -1.0, 2.0, 0.5], [3.0, -1.0, 1.0, 0.5, 0.5, 2.0, 1.0, 1.0]]
    x, dt, b, c = (View("x", 2 * i, 2) for i in range(4))
    op = ops.Scan(x, dt, b, c, View("y", 0, 2), "a", "d", 2, 1, 0)
    got = run([op], rows, widths={"y": 2}, weights={"a": [-1.0, -2.0], "d": [0.5, 3.0]}, states=((2, 2, 1),))
    h = np.zeros((2, 2))
    for row, out in zip(rows, got, strict=True):
        for i, (a, d) in enumerate(((-1.0, 0.5), (-2.0, 3.0))):
            h[i] = math.exp(row[2 + i] * a) * h[i] + row[2 + i] * row[i] * np.array(row[4:6])
            assert out[i] == pytest.approx(h[i] @ row[6:8] + d * row[i], rel=1e-6)


def test_scan_by_column() -> None:
    """One head of two columns, each with a step of its own and two decays."""
    rows = [[1.0, 2.0, 0.5, 0.25, 1.0, -1.0, 2.0, 0.5], [3.0, -1.0, 1.0, 0.5, 0.5, 2.0, 1.0, 1.0]]
    x, dt, b, c = (View("x", 2 * i, 2) for i in range(4))
    a, d = [[-1.0, -0.5], [-2.0, -0.25]], [0.5, 3.0]
    got = run([ops.Scan(x, dt, b, c, View("y", 0, 2), "a", "d", 1, 1, 0)], rows, widths={"y": 2}, weights={"a": a, "d": d}, states=((1, 2, 2),))
    h = np.zeros((2, 2))
    for row, out in zip(rows, got, strict=True):
        for i in range(2):
            h[i] = np.exp(row[2 + i] * np.array(a[i])) * h[i] + row[2 + i] * row[i] * np.array(row[4:6])
            assert out[i] == pytest.approx(h[i] @ row[6:8] + d[i] * row[i], rel=1e-6)


@pytest.mark.parametrize(("tiled", "keys"), [(False, (0, 0, 1, 1)), (True, (0, 1, 0, 1))])
def test_delta_rule_and_whose_key_a_head_reads(tiled: bool, keys: tuple[int, ...]) -> None:
    rows = np.random.default_rng(8).normal(size=(3, 4 + 4 + 4 + 4 + 4)).astype(np.float32)   # q, k: 2 heads of 2; v: 4 of 1; beta; dt
    parts = [View("x", 4 * i, 4) for i in range(5)]
    op = ops.DeltaRule(*parts, View("y", 0, 4), "a", 4, 2, 0, tiled)
    a = [-0.1, -0.2, -0.3, -0.4]
    got = run([op], rows, widths={"y": 4}, weights={"a": a}, states=((4, 2, 1),))
    s = np.zeros((4, 2))
    for row, out in zip(rows.astype(float), got, strict=True):
        q, k, v, beta, dt = row.reshape(5, 4)
        for j, key in enumerate(keys):
            mine = k[2 * key : 2 * key + 2]
            s[j] *= math.exp(dt[j] * a[j])
            s[j] += mine * beta[j] * (v[j] - s[j] @ mine)
            assert out[j] == pytest.approx(s[j] @ q[2 * key : 2 * key + 2], rel=1e-5)


def test_product_softplus_and_arrange() -> None:
    assert run([ops.Product(X, X, Y)], ROWS)[0].tolist() == [1, 4, 9, 16]
    got = run([ops.Softplus(X, Y, "b")], ROWS, weights={"b": [1.0, 0.0, -1.0, 50.0]})
    assert got[0].tolist() == pytest.approx([math.log1p(math.e**2), math.log1p(math.e**-2), math.log1p(math.e**2), 54.0], rel=1e-6)
    assert run([ops.Arrange(X, Y, 2, (1, 0))], ROWS)[0].tolist() == [3, 4, 1, -2]
    assert run([ops.Arrange(X, View("y", 0, 2), 1, (2, 1))], ROWS, widths={"y": 2})[0].tolist() == [3, -2]


def test_norm_with_weights_of_each_group() -> None:
    got = run([ops.Norm(X, Y, "w", 0.0, groups=2, own=True)], [[3.0, 4.0, 1.0, 1.0]], weights={"w": [[1.0, 2.0], [3.0, 4.0]]})
    assert got[0].tolist() == pytest.approx([3 / 12.5**0.5, 8 / 12.5**0.5, 3.0, 4.0], rel=1e-6)


def test_scale_columns_multiplies_columns() -> None:
    assert run([ops.ScaleColumns(X, Y, "w")], ROWS, weights={"w": [1, 2, 0, -1]}).tolist() == [[1, -4, 0, -4], [0.5, 0, 0, -2]]


def test_cutoff_keeps_what_sticks_out() -> None:
    # mean 2, population deviation sqrt((1 + 1 + 4 + 4) / 4)
    got = run([ops.Cutoff(X, Y, 0.5)], [[1.0, 3.0, 4.0, 0.0]])
    edge = 2 + 0.5 * math.sqrt(2.5)
    np.testing.assert_allclose(got, [[0, 3 - edge, 4 - edge, 0]], rtol=1e-6)


def test_blend_adds_streams_by_the_coefficients_of_the_row() -> None:
    # Streams (1, 2) and (3, 4), coefficients of output 0: 10, 0 and of output 1: 0, -1; each plus 1.
    x = [[1.0, 2.0, 3.0, 4.0, 10.0, 0.0, 0.0, -1.0]]
    got = run([ops.Blend(View("x", 0, 4), View("x", 4, 4), View("x", 0, 4), View("y", 0, 4), 2, 1.0)], x, widths={"y": 4})
    assert got.tolist() == [[1 + 11 * 1 + 1 * 3, 2 + 11 * 2 + 1 * 4, 3 + 1 * 1 + 0 * 3, 4 + 1 * 2 + 0 * 4]]


def test_match_takes_the_magnitude_of_another_row() -> None:
    pair = [View("x", 0, 2), View("x", 2, 2), View("y", 0, 2)]
    got = run([ops.Match(*pair, 1e-5)], [[3.0, 4.0, 6.0, 8.0], [0.0, 0.0, 6.0, 8.0]], widths={"y": 2})
    np.testing.assert_allclose(got, [[6, 8], [0, 0]], rtol=1e-6)
    assert run([ops.Match(*pair, 50.0)], [[3.0, 4.0, 6.0, 8.0]], widths={"y": 2})[0, 0] == pytest.approx(3.0)
