"""What is written is read back, and failures leave nothing behind."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgerun.errors import OutputError
from edgerun.gguf import GGUFWriter, open_gguf

names = st.text(st.characters(categories=("L", "N", "P", "S")), max_size=12).map("x.".__add__)   # not a key that means something
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
wholes = st.integers(-(1 << 63), (1 << 63) - 1)
floats = st.floats(width=32, allow_nan=False)
scalars = st.one_of(wholes, st.integers(0, (1 << 64) - 1), floats, st.booleans(), texts)
lists = st.one_of(*(st.lists(s, max_size=5) for s in (wholes, floats, st.booleans(), texts, st.lists(texts, min_size=1, max_size=3))))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(names, scalars | lists, max_size=8), st.dictionaries(names, st.lists(st.integers(1, 4), min_size=1, max_size=4), max_size=4))
def test_round_trip(tmp_path: Path, values: dict[str, object], shapes: dict[str, list[int]]) -> None:
    path = tmp_path / "m.gguf"
    arrays = {name: np.arange(np.prod(shape), dtype=np.float32).reshape(shape) for name, shape in shapes.items()}
    with GGUFWriter(path) as writer:
        for key, value in values.items():
            writer.add(key, value)
        for name, array in arrays.items():
            writer.add_tensor(name, array)
    with open_gguf(path) as model:
        assert dict(model.metadata) == values
        assert list(model.tensors) == list(arrays)
        for name, array in arrays.items():
            assert model.tensors[name].shape == array.shape
            assert model.tensors[name].read().tobytes() == array.tobytes()


@pytest.mark.parametrize(
    ("value", "kind"),
    [(7, "u32"), (-7, "i32"), (1 << 32, "u64"), (-(1 << 40), "i64"), (0.5, "f32"), (True, "bool"), ("a", "str"), ([1, -1], "[i32; 2]"), ([], "[u32; 0]")],
)
def test_chosen_types(tmp_path: Path, value: object, kind: str) -> None:
    with GGUFWriter(tmp_path / "m.gguf") as writer:
        writer.add("k", value)
    with open_gguf(tmp_path / "m.gguf") as model:
        assert model.metadata.kind("k") == kind


def test_dtypes_and_late_data(tmp_path: Path) -> None:
    with GGUFWriter(tmp_path / "m.gguf") as writer:
        for dtype in ("float32", "float16", "int8", "int16", "int32", "int64", "float64"):
            writer.add_tensor(dtype, np.arange(6, dtype=dtype).reshape(2, 3))
        writer.add_tensor("late", lambda: bytearray(b"x" * 36), 2, (2, 32))
        writer.add_tensor("strided", np.arange(12, dtype=np.float32).reshape(3, 4).T)
    with open_gguf(tmp_path / "m.gguf") as model:
        for dtype in ("float32", "float16", "int8", "int16", "int32", "int64", "float64"):
            assert np.array_equal(model.tensors[dtype].read().view(dtype), np.arange(6).reshape(2, 3))
        assert model.tensors["late"].read().tobytes() == b"x" * 36
        assert np.array_equal(model.tensors["strided"].read().view(np.float32), np.arange(12).reshape(3, 4).T)


@pytest.mark.parametrize(
    ("name", "data", "type_id", "shape"),
    [
        ("", b"x" * 4, 0, (1,)), ("n" * 64, b"x" * 4, 0, (1,)), ("a", b"x" * 4, 0, (0,)), ("a", b"", 0, ()), ("a", b"x" * 4, 0, (1,) * 5),
        ("a", b"x" * 18, 2, (33,)), ("a", b"x" * 18, None, (32,)), ("a", b"x" * 18, 2, None), ("taken", b"x" * 4, 0, (1,)),
    ],
)  # fmt: skip
def test_refused_tensors(tmp_path: Path, name: str, data: bytes, type_id: int | None, shape: tuple[int, ...] | None) -> None:
    writer = GGUFWriter(tmp_path / "m.gguf")
    writer.add_tensor("taken", b"x" * 4, 0, (1,))
    with pytest.raises(ValueError, match="tensor"):
        writer.add_tensor(name, data, type_id, shape)


def test_refused_keys(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "m.gguf")
    writer.add("k", 1)
    for key in ("k", ""):
        with pytest.raises(ValueError, match="key"):
            writer.add(key, 1)
    with pytest.raises(struct.error):
        writer.add("small", 300, "u8")


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_text("before")
    writer = GGUFWriter(tmp_path / "m.gguf")
    writer.add_tensor("short", b"x" * 3, 0, (1,))
    with pytest.raises(ValueError, match="has 3 bytes; its shape and type need 4"):
        writer.close()
    with pytest.raises(RuntimeError), GGUFWriter(tmp_path / "m.gguf"):
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["m.gguf"]
    assert (tmp_path / "m.gguf").read_text() == "before"


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file") as caught, GGUFWriter(tmp_path / "none" / "m.gguf") as writer:
        writer.add("k", 1)
    assert caught.value.exit_code == 4


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no such hint")
def test_the_disk_begins_before_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hints: list[tuple[int, int, int]] = []

    def hint(fd: int, start: int, count: int, advice: int) -> None:
        hints.append((start, count, os.fstat(fd).st_size))
        raise OSError(22, "Invalid argument")   # as of a file system that does not take it

    monkeypatch.setattr(os, "posix_fadvise", hint)
    monkeypatch.setattr("edgerun.gguf.writer._STORED", 4096)
    with GGUFWriter(tmp_path / "m.gguf") as writer:
        for name in "ab":
            writer.add_tensor(name, lambda: iter([bytes(1024)] * 10), 24, (10, 1024))
    with open_gguf(tmp_path / "m.gguf") as model:
        assert [start for start, _, _ in hints[1:]] == [start + count for start, count, _ in hints[:-1]]
        assert all(4096 <= count < 4096 + 1024 + 32 and start + count == size for start, count, size in hints)
        assert model.size - 4096 < sum(count for _, count, _ in hints) + model.tensors["a"].offset <= model.size
