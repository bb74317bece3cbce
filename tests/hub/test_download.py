from __future__ import annotations

import errno
import os
import random
from pathlib import Path

import pytest
from hub_server import HubServer

from edgerun.errors import ResourceError, SourceError
from edgerun.hub import part as part_module
from edgerun.hub import web
from edgerun.hub.download import download

CONTENT = b"GGUF" + random.Random(0).randbytes(1 << 20)


@pytest.fixture
def sha256(server: HubServer) -> str:
    return server.add("/m.gguf", CONTENT)


def fetch(server: HubServer, folder: Path, **options: object) -> Path:
    target = folder / "m.gguf"
    download(f"{server.url}/m.gguf", target, **options)   # type: ignore[arg-type]
    return target


def left(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def test_whole_file_with_progress(server: HubServer, sha256: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    target = fetch(server, tmp_path / "new" / "folder", sha256=sha256, size=len(CONTENT), progress=lambda *a: seen.append(a))
    assert target.read_bytes() == CONTENT
    assert left(target.parent) == ["m.gguf"]
    assert seen[0] == (0, len(CONTENT))
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)


@pytest.mark.parametrize("hashed", [True, False])
def test_cuts_are_continued(server: HubServer, sha256: str, tmp_path: Path, hashed: bool) -> None:
    server.faults.extend([("cut", 100_000), ("cut", 3), ("cut", 0), ("cut", 200_000)])
    target = fetch(server, tmp_path, sha256=sha256 if hashed else None)
    assert target.read_bytes() == CONTENT
    asked = [headers.get("range") for headers in server.requests("GET")]
    assert asked == [None, "bytes=100000-", "bytes=100003-", "bytes=100003-", "bytes=300003-"]
    assert [("if-range" in headers) for headers in server.requests("GET")][1:] == [not hashed] * 4


def test_an_interrupted_download_is_continued_later(server: HubServer, sha256: str, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path, progress=interrupt)
    there = (tmp_path / "m.gguf.part").stat().st_size
    assert 0 < there < len(CONTENT)
    assert fetch(server, tmp_path).read_bytes() == CONTENT
    assert server.requests("GET")[-1]["range"] == f"bytes={there}-"
    assert left(tmp_path) == ["m.gguf"]


def test_a_file_that_changed_meanwhile_begins_anew(server: HubServer, sha256: str, tmp_path: Path) -> None:
    server.faults.extend([("cut", 100_000), ("status", 404)])
    with pytest.raises(SourceError, match="no such file"):
        fetch(server, tmp_path)
    server.add("/m.gguf", b"GGUF" + b"new" * 1000)
    assert fetch(server, tmp_path).read_bytes() == b"GGUF" + b"new" * 1000


@pytest.mark.parametrize("lack", ["ranges", "etags", "lengths"])
def test_servers_that_can_less(server: HubServer, sha256: str, tmp_path: Path, lack: str) -> None:
    setattr(server, lack, False)
    if lack != "lengths":   # without a length a cut cannot be seen
        server.faults.append(("cut", 50_000))
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_all_of_it_was_there_already(server: HubServer, sha256: str, tmp_path: Path) -> None:
    server.faults.append(("cut", 100_000))
    server.faults.append(("status", 404))
    with pytest.raises(SourceError):
        fetch(server, tmp_path)
    (tmp_path / "m.gguf.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_a_part_longer_than_the_file_begins_anew(server: HubServer, sha256: str, tmp_path: Path) -> None:
    (tmp_path / "m.gguf.part").write_bytes(CONTENT + b"more")
    assert fetch(server, tmp_path, sha256=sha256).read_bytes() == CONTENT


def test_wrong_hash_leaves_nothing(server: HubServer, tmp_path: Path) -> None:
    server.add("/m.gguf", CONTENT)
    with pytest.raises(SourceError, match=r"has SHA-256 .* instead of 000000.*removed"):
        fetch(server, tmp_path, sha256="0" * 64)
    assert left(tmp_path) == []


def test_wrong_length(server: HubServer, sha256: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="another file"):
        fetch(server, tmp_path, size=7)
    server.lengths = False
    with pytest.raises(SourceError, match="more bytes came"):
        fetch(server, tmp_path, size=7)
    with pytest.raises(SourceError, match="bytes instead of"):
        fetch(server, tmp_path, size=len(CONTENT) + 1, sha256=sha256)


def test_a_page_instead_of_a_model(server: HubServer, tmp_path: Path) -> None:
    server.add("/m.gguf", b"<!DOCTYPE html>" + bytes(1000))
    with pytest.raises(SourceError, match=r"not a GGUF file \(it begins with b'<!DO'\)"):
        fetch(server, tmp_path)
    assert left(tmp_path) == []


@pytest.mark.parametrize(("fault", "message", "tries"), [
    (("status", 401), "access denied", 1),
    (("status", 403, {"X-Error-Code": "GatedRepo"}), "licence", 1),
    (("status", 404), "no such file", 1),
    (("status", 410), "no such file", 1),
    (("status", 418), "HTTP 418", 1),
    (("status", 429), "too many requests", web.ATTEMPTS),
    (("status", 500), "server has a problem", web.ATTEMPTS),
    (("status", 503, {"Retry-After": "0"}), "server has a problem", web.ATTEMPTS),
    (("redirect", "file:///etc/passwd"), "not an HTTP address", 1),
    (("redirect", "//[bad"), "not an HTTP address", 1),
    (("redirect", "/m.gguf"), "more than 8 redirects", 8),
])  # fmt: skip
def test_refusals(server: HubServer, sha256: str, tmp_path: Path, fault: tuple, message: str, tries: int) -> None:
    server.faults.extend([fault] * 20)
    with pytest.raises(SourceError, match=message) as caught:
        fetch(server, tmp_path)
    assert len(server.requests("GET")) == tries
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5


def test_passing_trouble_is_waited_out(server: HubServer, sha256: str, tmp_path: Path) -> None:
    server.faults.extend([("status", 503), ("status", 429, {"Retry-After": "0"}), ("status", 500)])
    assert fetch(server, tmp_path).read_bytes() == CONTENT


def test_redirects_are_followed_and_the_token_stays_home(server: HubServer, sha256: str, tmp_path: Path) -> None:
    server.faults.extend([("redirect", "/other"), ("redirect", f"{server.other_url}/m.gguf?signature=1")])
    download(f"{server.url}/first", tmp_path / "m.gguf", token="hf_secret")
    assert [h.get("authorization") for h in server.requests("GET")] == ["Bearer hf_secret", "Bearer hf_secret", None]


def test_https_is_not_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(web.Senseless, match="plain HTTP"):
        web._next("https://example.org/a", "http://example.org/a")


def test_a_link_that_stands_still(server: HubServer, sha256: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "STALL", 0.15)
    server.faults.append(("stall", 300_000, 1.0))
    assert fetch(server, tmp_path).read_bytes() == CONTENT   # given up, continued on a new connection
    assert server.requests("GET")[1]["range"] == "bytes=300000-"
    (tmp_path / "m.gguf").unlink()
    server.faults.extend([("stall", 0, 1.0)] * 9)
    with pytest.raises(SourceError, match="no answer in time"):
        fetch(server, tmp_path)


@pytest.mark.parametrize(("url", "message"), [
    ("http://127.0.0.1:9/m.gguf", "connection refused"),
    ("http://nothing.invalid/m.gguf", "cannot be resolved"),
])  # fmt: skip
def test_nobody_there(url: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        download(url, tmp_path / "m.gguf")


def test_check_comes_before_the_first_byte(server: HubServer, sha256: str, tmp_path: Path) -> None:
    def refuse(size: int, missing: int) -> None:
        assert (size, missing) == (len(CONTENT), len(CONTENT))
        raise ResourceError("too large")

    with pytest.raises(ResourceError, match="too large"):
        fetch(server, tmp_path, check=refuse)
    assert (tmp_path / "m.gguf.part").stat().st_size == 0


def test_a_disk_that_is_full_after_all(server: HubServer, sha256: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(part_module.os, "fsync", full)
    with pytest.raises(ResourceError, match=f"disk is full: .*beyond {len(CONTENT)} bytes"):
        fetch(server, tmp_path)


def test_a_folder_that_cannot_be_written(server: HubServer, sha256: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be written"):
        fetch(server, tmp_path / "file")
