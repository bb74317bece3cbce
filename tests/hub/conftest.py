from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer

from edgerun.hub import hub_source, web


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private EDGERUN_HOME and hub cache, no token, no waiting between tries."""
    for name in [n for n in os.environ if n.startswith(("HF_", "HUGGING"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("EDGERUN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(web, "BACKOFF", 0.001)
    monkeypatch.setattr(hub_source, "_unreachable", {})
    return tmp_path / "home"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub of its own, HF_ENDPOINT set to it."""
    hub = HubServer()
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    yield hub
    hub.shutdown()
    hub.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The hub's cache folder."""
    return tmp_path / "hf" / "hub"
