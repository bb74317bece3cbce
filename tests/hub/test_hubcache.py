from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgerun.hub.hubcache import HubCache, _default_root
from edgerun.hub.lock import Lock

OLD, NEW = "a" * 40, "b" * 40


def put(cache: HubCache, commit: str, file: str, content: bytes, etag: str) -> Path:
    blob = cache.blob("user/repo", etag)
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    return cache.link("user/repo", commit, file, etag)


@pytest.fixture
def here(tmp_path: Path) -> HubCache:
    return HubCache(tmp_path / "hub")


@pytest.mark.parametrize(("variables", "root"), [
    ({}, "/home/me/.cache/huggingface/hub"),
    ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub"),
    ({"XDG_CACHE_HOME": "/xdg", "HF_HOME": "~/hf"}, "/home/me/hf/hub"),
    ({"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
    ({"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "$HOME/new"}, "/home/me/new"),
])  # fmt: skip
def test_where_it_is(variables: dict[str, str], root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/me", **variables}.items():
        monkeypatch.setenv(name, value)
    assert _default_root() == Path(root)


def test_the_current_version_comes_first(here: HubCache) -> None:
    old = put(here, OLD, "m.gguf", b"old", "etag-old")
    new = put(here, NEW, "m.gguf", b"new", "etag-new")
    os.utime(old.parent, (2e9, 2e9))
    assert here.find("user/repo", "m.gguf") == new
    only_old = put(here, OLD, "other.gguf", b"x", "etag-x")
    put(here, NEW, "m.gguf", b"new", "etag-new")
    assert here.find("user/repo", "other.gguf") == only_old
    assert here.files("user/repo") == ["m.gguf", "other.gguf"]
    assert here.holds("user/repo", OLD, "m.gguf")
    assert not here.holds("user/repo", NEW, "other.gguf")


def test_nothing_there(here: HubCache) -> None:
    assert here.find("user/repo", "m.gguf") is None
    assert here.files("user/repo") == []
    assert list(here.models()) == []
    assert here.remove("user/repo", "m.gguf") == 0


def test_a_broken_link_is_not_a_file(here: HubCache) -> None:
    path = put(here, NEW, "m.gguf", b"new", "etag-new")
    path.resolve().unlink()
    assert here.find("user/repo", "m.gguf") is None
    assert put(here, NEW, "m.gguf", b"again", "etag-again").read_bytes() == b"again"


def test_remove_keeps_what_others_use(here: HubCache) -> None:
    put(here, OLD, "m.gguf", b"same", "etag-same")
    put(here, NEW, "m.gguf", b"same", "etag-same")
    copy = put(here, NEW, "sub/copy.gguf", b"same", "etag-same")
    assert here.remove("user/repo", "m.gguf") == 0
    assert copy.read_bytes() == b"same"
    assert here.find("user/repo", "m.gguf") is None
    assert here.remove("user/repo", "sub/copy.gguf") == 4
    assert [p.name for p in (here.root / "models--user--repo").iterdir() if p.name == "snapshots"] == []


def test_remove_takes_abandoned_parts_along_but_not_growing_ones(here: HubCache) -> None:
    put(here, NEW, "m.gguf", b"1234", "etag-m")
    abandoned, growing = (here.blob("user/repo", f"{name}.part") for name in ("abandoned", "growing"))
    abandoned.write_bytes(b"12")
    growing.write_bytes(b"123")
    with Lock(here.lock_file("user/repo", "growing")):
        assert here.remove("user/repo", "m.gguf") == 6
    assert growing.exists()
    assert not abandoned.exists()


def test_models(here: HubCache) -> None:
    path = put(here, NEW, "m.gguf", b"new", "etag-new")
    (here.root / "datasets--user--repo" / "snapshots" / NEW).mkdir(parents=True)
    put(here, NEW, "config.json", b"{}", "etag-json")
    assert list(here.models()) == [("user/repo", "m.gguf", path)]
