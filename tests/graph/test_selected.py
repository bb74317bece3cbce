"""Rows nobody asks for are left where nothing mixes rows any more."""

from __future__ import annotations

import dataclasses

from test_lower import SHAPES, TINY, layer_with

from edgerun.graph import ops
from edgerun.graph.lower import lower
from edgerun.graph.ops import View
from edgerun.graph.program import Program
from edgerun.graph.selected import selected


def program_of(*middle: ops.Op) -> Program:
    """An attention, some ops, and the way out of stream x."""
    x, h, logits = View("x", 0, 8), View("h", 0, 8), View("logits", 0, 7)
    attention = next(op for op in lower(TINY, SHAPES).ops if isinstance(op, ops.Attention))
    out = (ops.Select(x, h), ops.Norm(h, h, "output_norm.weight", 1e-5), ops.Hidden(h), ops.Linear(h, logits, ("output.weight",), (None,)))
    return dataclasses.replace(lower(TINY, SHAPES), ops=(attention, *middle, *out))


def test_the_last_layer_works_on_what_is_asked_for_from_its_attention_on() -> None:
    before, after = lower(TINY, SHAPES), selected(lower(TINY, SHAPES))
    at = next(i for i, op in enumerate(after.ops) if isinstance(op, ops.Select))
    assert after.ops[:at] == before.ops[:at]
    assert isinstance(after.ops[at - 1], ops.Attention)
    kinds = [ops.Select, ops.Select, ops.Linear, ops.Norm, ops.Linear, ops.Gate, ops.Linear, ops.Norm, ops.Hidden, ops.Linear]
    assert [type(op) for op in after.ops[at:]] == kinds
    assert after.ops[at : at + 3] == (
        ops.Select(View("att", 0, 12), View("att.selected", 0, 12)),
        ops.Select(View("x", 0, 8), View("x.selected", 0, 8)),
        ops.Linear(View("att.selected", 0, 12), View("x.selected", 0, 8), ("blk.1.attn_output.weight",), (None,), View("x.selected", 0, 8)),
    )
    assert after.ops[-2:] == (ops.Hidden(View("x.selected", 0, 8)), ops.Linear(View("x.selected", 0, 8), View("logits", 0, 7), ("token_embd.weight",), (None,)))
    assert after.buffers == before.buffers | {"x.selected": 8, "att.selected": 12}


def test_nothing_that_the_rows_have_from_before_is_forgotten() -> None:
    program = selected(lower(layer_with(parallel=True), SHAPES))
    at = next(i for i, op in enumerate(program.ops) if isinstance(op, ops.Select))
    assert {op.x.buffer for op in program.ops if isinstance(op, ops.Select)} == {"x", "g", "att"}   # g: the other half's input, made before the attention
    written = {"logits"}
    for op in program.ops[at:]:
        views = {field.name: getattr(op, field.name) for field in dataclasses.fields(op)}
        read = [view for name, view in views.items() if name != "out" and isinstance(view, View)]
        assert isinstance(op, ops.Select) or written.issuperset(view.buffer for view in read)
        written |= {views["out"].buffer} if "out" in views else set()


def test_of_a_buffer_that_is_written_in_part_the_rest_comes_from_before() -> None:
    first = View("gu", 0, 10)
    program = selected(program_of(ops.Activate(View("att", 0, 10), first, "silu"), ops.Add(View("gu", 0, 8), View("gu", 8, 8), View("x", 0, 8))))
    assert ops.Select(View("gu", 0, 16), View("gu.selected", 0, 16)) in program.ops
    whole = selected(program_of(ops.Activate(View("att", 0, 10), first, "silu"), ops.Add(View("gu", 0, 5), View("gu", 5, 5), View("x", 0, 5))))
    assert not any(isinstance(op, ops.Select) and op.x.buffer == "gu" for op in whole.ops)


def test_where_nothing_is_between_them_nothing_changes() -> None:
    assert selected(program_of()) == program_of()
