from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgerun.hub.catalogue import Catalogue
from edgerun.hub.hubcache import HubCache

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HubCache:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return HubCache()


@pytest.fixture
def models(cache: HubCache) -> list[Path]:
    """A model of the catalogue and another one, both in the hub's cache."""
    paths = []
    for repo, file, size in (("Qwen/Qwen3-0.6B-GGUF", "Qwen3-0.6B-Q8_0.gguf", 2_000_000), ("user/repo", "m.gguf", 1000)):
        blob = cache.blob(repo, "etag")
        blob.parent.mkdir(parents=True)
        with open(blob, "wb") as sparse:
            sparse.truncate(size)
        paths.append(cache.link(repo, "a" * 40, file, "etag"))
    return paths


def test_nothing_here(cli: Cli) -> None:
    result = cli("list")
    assert (result.code, result.out) == (0, "")
    assert result.err == "no models here; fetch one with: edgerun pull smollm2:135m (edgerun list --all shows more)\n"
    assert cli("list", "-o", "json").out == "[]\n"


def test_what_is_here(cli: Cli, models: list[Path]) -> None:
    assert cli("list").out == "NAME                   SIZE  IN\nhf:user/repo:m.gguf  1.0 kB  hub cache\nqwen3:0.6b           2.0 MB  hub cache\n"


def test_the_catalogue_too(cli: Cli, models: list[Path]) -> None:
    lines = cli("list", "--all").out.splitlines()
    assert lines[0].split() == ["NAME", "SIZE", "CONTEXT", "LICENSE", "HERE"]
    assert [line.split()[0] for line in lines[1:-1]] == list(Catalogue.load().entries)
    assert lines[-1].split() == ["hf:user/repo:m.gguf", "1.0", "kB", "hub", "cache"]
    assert next(line for line in lines if line.startswith("qwen3:0.6b")).split() == ["qwen3:0.6b", "2.0", "MB", "40960", "apache-2.0", "hub", "cache"]


def test_for_programs(cli: Cli, models: list[Path]) -> None:
    other, known = json.loads(cli("list", "-o", "json").out)
    assert other == {"name": "hf:user/repo:m.gguf", "installed": True, "path": str(models[1]), "size": 1000, "place": "hub cache"}
    assert known == {
        "name": "qwen3:0.6b", "installed": True, "path": str(models[0]), "size": 2_000_000, "place": "hub cache", "license": "apache-2.0",
        "context": 40960, "aliases": ["qwen3"], "verified": False, "sampling": {"temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.0},
    }  # fmt: skip
    first = json.loads(cli("list", "-a", "-o", "json").out)[0]
    assert (first["name"], first["installed"], first["size"], first["verified"]) == ("smollm2:135m", False, 98362432, True)
    assert "path" not in first
