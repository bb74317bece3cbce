"""Paths that are no model file, files that change while they are read, reads from several threads."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from seeds import every_type, tiny_llama

from edgerun.errors import GGUFError, ModelError
from edgerun.gguf import file as module
from edgerun.gguf import open_gguf
from edgerun.gguf.file import shown


def message_of(path: Path | str) -> str:
    with pytest.raises(ModelError) as caught:
        open_gguf(path)
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 3
    return str(caught.value)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tiny_llama(tmp_path / "m.gguf")
    return tmp_path / "m.gguf"


def test_missing(tmp_path: Path) -> None:
    assert message_of(tmp_path / "none.gguf") == f"{tmp_path}/none.gguf: cannot be opened: No such file or directory"


def test_folder(tmp_path: Path) -> None:
    assert message_of(tmp_path) == f"{tmp_path}: is a folder; name the .gguf file in it"


def test_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    assert "is a named pipe" in message_of(tmp_path / "pipe.gguf")


def test_device() -> None:
    assert message_of("/dev/zero") == "/dev/zero: is a device; name a .gguf file"


def test_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.gguf")
        assert message_of("s.gguf") == "s.gguf: is a socket; name a .gguf file"


def test_forbidden(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)   # a real one does not stop root
    assert message_of(model) == f"{model}: cannot be opened: Permission denied"


def test_replaced_by_a_pipe_between_check_and_opening(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    regular, real_stat = os.stat(model), os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: regular if str(path).endswith("pipe") else real_stat(path, **options))
    assert "is a named pipe" in message_of(tmp_path / "pipe")


def test_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop.gguf").symlink_to("loop.gguf")
    assert "cannot be opened" in message_of(tmp_path / "loop.gguf")


@pytest.mark.parametrize("name", ["new\nline.gguf", "es\x1b[2Jc.gguf", "\udcff.gguf", "x" * 5000, "nul\0.gguf"])
def test_strange_names(tmp_path: Path, name: str) -> None:
    message_of(tmp_path / name)


def test_link_to_a_model(model: Path, tmp_path: Path) -> None:
    (tmp_path / "link.gguf").symlink_to(model)
    with open_gguf(tmp_path / "link.gguf") as opened:
        assert len(opened.tensors) == 20
        assert opened.size == model.stat().st_size


def test_closed_after_errors(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + bytes(100))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for _ in range(10):
        message_of(tmp_path / "bad.gguf")
    if before is not None:
        assert len(os.listdir("/proc/self/fd")) == before


def test_cut_while_in_use(model: Path) -> None:
    with open_gguf(model) as opened:
        *_, last = opened.tensors.values()
        os.truncate(model, last.offset + 4)
        with pytest.raises(GGUFError, match=f"cut short at byte {last.offset + 4} while in use"):
            last.read()
        next(iter(opened.tensors.values())).read()


def test_read_after_close(model: Path) -> None:
    opened = open_gguf(model)
    opened.close()
    opened.close()
    with pytest.raises(ValueError, match="closed"):
        opened.tensors["token_embd.weight"].read()


def test_rows(model: Path) -> None:
    with open_gguf(model) as opened:
        tensor = opened.tensors["token_embd.weight"]
        whole = tensor.read()
        assert whole.shape == (288, 128)
        assert np.array_equal(tensor.read(5, 9), whole[5:9])
        assert tensor.read(288).shape == (0, 128)
        assert opened.tensors["output_norm.weight"].read().shape == (1, 128)
        for start, stop in ((-1, 3), (3, 2), (0, 289)):
            with pytest.raises(ValueError, match="rows"):
                tensor.read(start, stop)


def test_reads_from_threads(model: Path) -> None:
    with open_gguf(model) as opened:
        tensor = opened.tensors["token_embd.weight"]
        whole = tensor.read()
        wrong: list[int] = []

        def check(start: int) -> None:
            for row in range(start, 288, 4):
                if not np.array_equal(tensor.read(row, row + 1)[0], whole[row]):
                    wrong.append(row)

        threads = [threading.Thread(target=check, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong


def test_a_mapping_has_what_is_read(model: Path) -> None:
    with open_gguf(model) as file:
        for tensor in file.tensors.values():
            np.testing.assert_array_equal(tensor.mapped(), tensor.read())
            fd, offset = tensor.place()
            assert os.pread(fd, tensor.nbytes, offset) == tensor.read().tobytes()
        kept = tensor.mapped()
    assert not kept.flags.writeable
    assert kept.tobytes()   # which outlives the file


def test_a_file_that_became_shorter_is_not_mapped(model: Path) -> None:
    with open_gguf(model) as file:
        os.truncate(model, model.stat().st_size - 1)
        with pytest.raises(GGUFError, match="was cut short at byte"):
            next(iter(file.tensors.values())).mapped()


def test_short_reads_are_continued(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, buffers, offset: preadv(fd, [buffers[0][:1000]], offset))
    with open_gguf(model) as opened:
        assert opened.tensors["token_embd.weight"].read().tobytes() in model.read_bytes()


def test_a_system_that_reads_where_it_stands(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, and old versions of macOS."""
    monkeypatch.delattr(os, "preadv")
    monkeypatch.setattr(module, "_PIECE", 1000)
    test_rows(model)
    test_reads_from_threads(model)
    test_cut_while_in_use(model)


def test_disk_error(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
    assert message_of(model) == f"{model}: cannot be read at byte 0: Input/output error"


def test_opening_is_read_only_and_private(model: Path) -> None:
    model.chmod(stat.S_IRUSR)
    with open_gguf(model) as opened:
        assert not os.get_inheritable(opened.files[0].fd)


def test_import_is_light() -> None:
    code = "import sys, edgerun.gguf; print([m for m in ('numpy', 'gguf', 'jinja2', 'rich', 'numba') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(("text", "expected"), [("plain", "plain"), ("a\x1b[0m\n", "a\\x1b[0m\\n"), ("é\u202e", "\\xe9\\u202e"), ("x" * 90, "x" * 77 + "...")])
def test_shown(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert len(shown("\0" * 100000)) == 80


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_the_size_of_chunks_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    every_type(tmp_path / "m.gguf")
    with open_gguf(tmp_path / "m.gguf") as opened:
        whole = dict(opened.metadata), [(t.name, t.shape, t.type, t.offset) for t in opened.tensors.values()]
    monkeypatch.setattr("edgerun.gguf.cursor._CHUNK", chunk)
    with open_gguf(tmp_path / "m.gguf") as opened:
        assert (dict(opened.metadata), [(t.name, t.shape, t.type, t.offset) for t in opened.tensors.values()]) == whole
