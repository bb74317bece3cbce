"""Every class of bad file gives one clear line and exit code 3, at once and without memory."""

from __future__ import annotations

import os
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
from generators import ARRAY, CASES, STRING, U8, Case, array, gguf, key, tensor

from edgerun.errors import GGUFError, ModelError
from edgerun.gguf import open_gguf


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_rejected_with_one_clear_line(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    content = case.make()
    path.write_bytes(content)
    started = time.process_time()
    with pytest.raises(ModelError) as caught:
        open_gguf(path)
    assert time.process_time() - started < 0.5
    message = str(caught.value)
    assert case.message in message
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    assert len(message) < 400 + len(str(path))
    assert caught.value.exit_code == 3
    assert "at byte" in message or not isinstance(caught.value, GGUFError)


def test_names_are_unique() -> None:
    assert len({case.name for case in CASES}) == len(CASES) > 60


@pytest.mark.parametrize("name", ["array_count", "array_size_wraps", "string_length", "nested_bomb", "dimension_huge", "tensor_count"])
def test_claims_allocate_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(next(case for case in CASES if case.name == name).make())
    tracemalloc.start()
    try:
        with pytest.raises(ModelError):
            open_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size * 3 + (1 << 20)
    finally:
        tracemalloc.stop()


def test_each_truncation_of_a_good_file_is_noticed(tmp_path: Path) -> None:
    from seeds import tiny_llama

    whole = tmp_path / "whole.gguf"
    tiny_llama(whole)
    content = whole.read_bytes()
    with open_gguf(whole) as model:
        *_, last = model.tensors.values()
        assert last.offset + last.nbytes == len(content), "the last tensor needs no padding"
    path = tmp_path / "cut.gguf"
    for end in (*range(200), *range(200, len(content), 997), len(content) - 1):
        path.write_bytes(content[:end])
        with pytest.raises(GGUFError, match="at byte"):
            open_gguf(path)


def test_metadata_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "hole.gguf"
    path.write_bytes(gguf([key(b"k", STRING, struct.pack("<Q", 50 << 20))]))
    os.truncate(path, 60 << 20)
    with pytest.raises(GGUFError, match="'k' ends at byte 52428845, but metadata beyond 40 MiB is not accepted"):
        open_gguf(path)


def test_the_most_that_is_accepted_is_soon_read(tmp_path: Path) -> None:
    path = tmp_path / "most.gguf"
    keys = [key(b"k%d" % i, U8, b"\0") for i in range(16000)]
    strings = [key(b"s%d" % i, ARRAY, array(STRING, 1 << 20, bytes(8 << 20))) for i in range(3)]
    inner = [key(b"i", ARRAY, array(ARRAY, 1 << 16, array(U8, 0) * (1 << 16)))]
    tensors = [tensor(b"t%d" % i, (1, 1, 1, 1), 24, i * 32) for i in range(1 << 15)]
    path.write_bytes(gguf(keys + strings + inner, tensors, 32 << 15))
    started = time.process_time()
    with open_gguf(path) as model:
        assert time.process_time() - started < 2
        assert (len(model.metadata), len(model.tensors)) == (16004, 1 << 15)
