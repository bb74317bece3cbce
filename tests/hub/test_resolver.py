from __future__ import annotations

from pathlib import Path

import pytest
from hub_server import HubServer

from edgerun.errors import ModelError, ResourceError, SourceError, UsageError
from edgerun.hub import entry_of, resolve
from edgerun.hub.resolver import present

MODEL = b"GGUF" + bytes(100_000)


def test_paths_are_taken_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.gguf").write_bytes(MODEL)
    assert resolve("m.gguf") == Path("m.gguf")
    assert resolve(str(tmp_path)) == tmp_path          # what is in it is the reader's business
    assert present("./m.gguf") == [Path("m.gguf")]


@pytest.mark.parametrize(("ref", "message"), [
    ("./m.gguf", r"'\./m\.gguf': no such file$"),
    ("user/repo", "for a repository of the hub write hf:user/repo"),
    ("user/repo:Q4_0", "for a repository of the hub write hf:user/repo:Q4_0"),
    ("qwen3:0.7b", r"no model 'qwen3:0\.7b' in the catalogue; nearest names: qwen3:"),
    ("zzzzzz", "no model 'zzzzzz' in the catalogue; edgerun list --all"),
    ("readme", "for the file of that name write ./readme"),
])  # fmt: skip
def test_what_does_not_exist(ref: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("readme").write_text("")
    with pytest.raises(ModelError, match=message) as caught:
        resolve(ref)
    assert caught.value.exit_code == 3


def test_what_makes_no_sense() -> None:
    with pytest.raises(UsageError):
        resolve("hf:")


def test_absent_models_are_not_fetched_unasked(server: HubServer) -> None:
    for ref in ("smollm2:135m", "hf:user/repo", f"{server.url}/m.gguf"):
        with pytest.raises(ModelError, match="edgerun pull"):
            resolve(ref, download=False)
        with pytest.raises(ModelError, match="edgerun pull"):
            present(ref)
    assert server.seen == []


def test_an_address(server: HubServer, home: Path) -> None:
    server.add("/models/Some%20Model.gguf", MODEL)   # quoted twice by the request below
    server.add("/models/m.gguf", MODEL)
    url = f"{server.url}/models/m.gguf?x=1"
    path = resolve(url)
    assert path.parent.parent == home / "models"
    assert path.parent.name.startswith("127.0.0.1-")
    assert path.name == "m.gguf"
    assert path.read_bytes() == MODEL
    asked = len(server.seen)
    assert resolve(url, download=False) == path
    assert len(server.seen) == asked
    assert resolve(f"{server.url}/models/m.gguf") != path


@pytest.mark.parametrize("name", ["%2e%2e%2fevil.gguf", "..%5Cevil.gguf", "con.gguf", "a%1b.gguf", "download", ""])
def test_names_in_an_address_are_not_trusted(server: HubServer, home: Path, name: str) -> None:
    from urllib.parse import unquote

    server.add(f"/x/{unquote(name)}", MODEL)
    path = resolve(f"{server.url}/x/{name}")
    assert path.name == "model.gguf"
    assert path.parent.parent == home / "models"


def test_all_parts_behind_an_address(server: HubServer) -> None:
    for i in (1, 2):
        server.add(f"/a/m-0000{i}-of-00002.gguf", b"GGUF" + bytes([i]))
    path = resolve(f"{server.url}/a/m-00001-of-00002.gguf?token=1")
    assert path.read_bytes() == b"GGUF\1"
    assert (path.parent / "m-00002-of-00002.gguf").read_bytes() == b"GGUF\2"
    assert [p for m, p, _ in server.seen][1].endswith("m-00002-of-00002.gguf?token=1")


def test_failures_of_an_address(server: HubServer) -> None:
    with pytest.raises(SourceError, match=r"^http://127\S+/nothing\.gguf.* could not be fetched: .*no such file \(HTTP 404\)"):
        resolve(f"{server.url}/nothing.gguf")


def test_a_cache_that_cannot_be_written(server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.add("user/repo/m.gguf", MODEL)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "file"))
    with pytest.raises(ResourceError, match="cannot be written"):
        resolve("hf:user/repo:m.gguf")


def test_entry_of() -> None:
    entry = entry_of("SmolLM2")
    assert entry is not None
    assert entry.sampling == {"temperature": 0.2, "top_p": 0.9}
    assert entry_of("hf:Qwen/Qwen3-0.6B-GGUF:Qwen3-0.6B-Q8_0.gguf") == entry_of("qwen3:0.6b")
    assert entry_of("hf:Qwen/Qwen3-0.6B-GGUF") is None
    assert entry_of("./x.gguf") is None
    assert entry_of("unknown") is None


@pytest.mark.model
def test_the_default_model_is_the_one_we_know(smollm2: Path) -> None:
    entry = entry_of("smollm2")
    assert entry is not None
    assert smollm2.stat().st_size == entry.size
