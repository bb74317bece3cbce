"""Bytes that are copied are the same, whoever moves them; files that are cut short or full are said to be."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from edgerun.errors import GGUFError, OutputError
from edgerun.gguf import GGUFWriter, open_gguf
from edgerun.gguf.file import File
from edgerun.gguf.span import Span


def written(path: Path, size: int = 100_000) -> File:
    path.write_bytes(os.urandom(size))
    return File(path)


def refused(*arguments: object) -> int:
    raise OSError(errno.EINVAL, "not here")


@pytest.mark.parametrize("sent", ["by the system", "a little at a time", "not at all"])
def test_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sent: str) -> None:
    if hasattr(os, "sendfile") and sent != "by the system":
        true = os.sendfile
        monkeypatch.setattr(os, "sendfile", refused if sent == "not at all" else lambda to, of, at, count: true(to, of, at, min(count, 1000)))
    file = written(tmp_path / "source")
    with open(tmp_path / "copy", "w+b", buffering=0) as out:
        for piece in Span(file, 123, 70_001).pieces(30_000):
            piece.copy_to(out.fileno())
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "source").read_bytes()[123:70_124]


def test_tensors_of_spans(tmp_path: Path) -> None:
    file = written(tmp_path / "source", 3000)
    seen: list[int] = []
    writer = GGUFWriter(tmp_path / "m.gguf")
    writer.add_tensor("a", [Span(file, 5, 70), Span(file, 1000, 30)], 0, (5, 5))
    writer.add_tensor("b", [Span(file, 2000, 8)], 0, (2,))
    writer.write(progress=seen.append)
    writer.publish()
    content = (tmp_path / "source").read_bytes()
    with open_gguf(tmp_path / "m.gguf") as model:
        assert model.tensors["a"].read().tobytes() == content[5:75] + content[1000:1030]
        assert model.tensors["b"].read().tobytes() == content[2000:2008]
    assert seen == [0, 70, 100]


def test_a_source_that_becomes_shorter_is_said(tmp_path: Path) -> None:
    file = written(tmp_path / "source", 3000)
    writer = GGUFWriter(tmp_path / "m.gguf")
    writer.add_tensor("a", [Span(file, 0, 3000)], 0, (750,))
    os.truncate(tmp_path / "source", 1000)
    with pytest.raises(GGUFError, match="source: was cut short at byte 1000 while in use"):
        writer.close()
    assert not list(tmp_path.glob("m.*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk that is always full")
def test_a_full_disk_is_said(tmp_path: Path) -> None:
    file = written(tmp_path / "source", 4000)
    (tmp_path / "m.gguf.part").symlink_to("/dev/full")
    writer = GGUFWriter(tmp_path / "m.gguf")
    writer.add_tensor("a", [Span(file, 0, 4000)], 0, (1000,))
    with pytest.raises(OutputError, match=r"cannot be written: (No space left on device|Invalid argument)"):
        writer.close()
