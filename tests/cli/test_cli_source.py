"""`edgerun convert` and `edgerun quantize` of checkpoints: folders and repositories of a hub."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from test_cli_convert import source  # noqa: F401 (a fixture)

from edgerun.gguf import open_gguf
from edgerun.hub import web

sys.path.insert(0, str(Path(__file__).parents[1] / "hub"))
from hub_server import HubServer

Cli = Callable[..., Any]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: Path) -> Iterator[HubServer]:   # noqa: F811
    """A hub that has the checkpoint as user/Tiny-1.5B, and a folder of the user's own to be in."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    server = HubServer()
    for path in source.iterdir():
        server.add(f"user/Tiny-1.5B/{path.name}", path.read_bytes())
    server.add("user/Pickles/config.json", b"{}")
    server.add("user/Pickles/pytorch_model.bin", b"pickle")
    for name, value in {"HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": server.url, "no_proxy": "*"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(web, "BACKOFF", 0.001)
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")
    yield server
    server.shutdown()
    server.server_close()


def test_a_folder_becomes_smaller_at_once(cli: Cli, source: Path) -> None:   # noqa: F811
    result = cli("quantize", str(source), "BF16", "-t", "1")
    out = source.parent / "Tiny-Letters-BF16.gguf"
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"wrote {out}: ")
    assert cli("convert", str(source), str(source.parent / "c.gguf"), "--outtype", "bf16", "-t", "1").code == 0
    with open_gguf(out) as file, open_gguf(source.parent / "c.gguf") as converted:
        assert {name: t.read().tobytes() for name, t in file.tensors.items()} == {name: t.read().tobytes() for name, t in converted.tensors.items()}
        assert dict(file.metadata) == dict(converted.metadata)
    dry = cli("quantize", str(source), "Q8_0", "--dry-run", "--no-fallback")
    assert (dry.code, dry.out) == (2, "")
    assert "the rows of 'token_embd.weight' have 8 weights, which do not fill the blocks of 32 of Q8_0" in dry.err


@pytest.mark.parametrize(("command", "more"), [("convert", ()), ("quantize", ("F16",))])
def test_a_repository_of_the_hub(cli: Cli, hub: HubServer, tmp_path: Path, command: str, more: tuple[str, ...]) -> None:
    result = cli(command, "hf:user/Tiny-1.5B", *more, "-t", "1")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("wrote Tiny-1.5B-F16.gguf: ")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["Tiny-1.5B-F16.gguf"]
    with open_gguf("Tiny-1.5B-F16.gguf") as file:
        assert file.metadata["general.name"] == "Tiny 1.5B"
        assert file.metadata["general.architecture"] == "qwen2"
    asked = len(hub.seen)
    assert cli(command, "hf:user/Tiny-1.5B", *more, "-t", "1", "--force").code == 0
    assert len(hub.seen) == asked   # it is here


@pytest.mark.parametrize("arguments", [("convert", "hf:user/Pickles"), ("quantize", "hf:user/Pickles", "Q4_0")])
def test_a_repository_of_pickles_is_refused_in_one_line(cli: Cli, hub: HubServer, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = cli(*arguments)
    assert (result.code, result.out) == (3, "")
    assert result.err == (
        "edgerun: user/Pickles: 'pytorch_model.bin' is a pickle, which can run code when it is read; take a repository with safetensors\n"
    )
    assert not list((tmp_path / "mine").iterdir())


@pytest.mark.parametrize("command", ["convert", "quantize"])
@pytest.mark.parametrize(
    ("damage", "code", "message"),
    [
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "../../x.safetensors"}}'}, 3, "which is not a .safetensors file in the same folder"),
        ({"model.safetensors.index.json": b'{"weight_map": {"a": "model-2.safetensors"}}'}, 3, "model-2.safetensors"),
        ({"model.safetensors": b"cut"}, 3, "too few for a safetensors file"),
        ({"model.safetensors": None, "pytorch_model.bin": b"p"}, 3, "is a pickle"),
        ({"config.json": None}, 3, "no config.json"),
        ({"tokenizer.json": b"{"}, 3, "tokenizer.json"),
    ],
)
@pytest.mark.parametrize("remote", [False, True])
def test_damage_is_one_line(cli: Cli, hub: HubServer, source: Path, command: str, damage: dict[str, bytes | None], code: int, message: str, remote: bool) -> None:   # noqa: F811
    for name, content in damage.items():
        (source / name).write_bytes(content or b"")
        hub.files[f"user/Tiny-1.5B/{name}"] = content or b""
        if content is None:
            (source / name).unlink()
            del hub.files[f"user/Tiny-1.5B/{name}"]
    result = cli(command, "hf:user/Tiny-1.5B" if remote else str(source), *([] if command == "convert" else ["Q8_0"]))
    assert (result.code, result.out) == (code, "")
    assert len(result.err.strip().splitlines()) == 1
    assert message in result.err
    assert not list(Path().iterdir())
    assert not list(source.parent.glob("*.gguf*"))


def test_what_is_not_there(cli: Cli, hub: HubServer) -> None:
    assert (cli("quantize", "hf:user/Nothing", "Q8_0").code, cli("convert", "hf:user/Nothing").code) == (5, 5)
    assert (cli("quantize", "hf:user/Tiny-1.5B:Q8_0", "Q4_0").code, cli("quantize", "./nothing", "Q4_0").code) == (3, 3)


@pytest.mark.parametrize("options", [("--report",), ("--calibrate", "gptq", "-f", __file__), ("--bpw", "6")])
def test_what_runs_the_model_takes_no_checkpoint(cli: Cli, source: Path, options: tuple[str, ...]) -> None:   # noqa: F811
    types = () if "--bpw" in options else ("Q4_0",)
    result = cli("quantize", str(source), str(source.parent / "x.gguf"), *types, *options)
    assert result.code == 2
    assert "is a checkpoint: make a file of it with edgerun convert first" in result.err
    assert not (source.parent / "x.gguf").exists()
