"""Tensors of another type than was asked for: a line for all that have the same reason."""

from __future__ import annotations

import pytest

from edgerun.cli import instead


def test_what_has_the_same_reason_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(instead, "warn", said.append)
    rows = [("a", 8, "F16", "Q8_0"), ("norm", 8, "F32", None), ("b", 8, "F16", "Q8_0"), ("c", 96, "Q5_0", "Q4_K"), *((f"d{i}", 64, "Q5_0", "Q4_K") for i in range(144))]
    instead.tell(iter(rows))
    assert said == [
        "warning: a and b become F16: their rows of 8 do not fill the blocks of Q8_0",
        "warning: c becomes Q5_0: its rows of 96 do not fill the blocks of Q4_K",
        "warning: d0, d1 and 142 more (--dry-run lists them) become Q5_0: their rows of 64 do not fill the blocks of Q4_K",
    ]


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_few_are_all_named(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(instead, "warn", said.append)
    instead.tell((name, 8, "F16", "Q8_0") for name in names)
    assert all(name in said[0] for name in names)
    assert "more" not in said[0]
