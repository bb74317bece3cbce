"""Checkpoints of a hub: what is fetched, what is refused, what is already here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from email.message import Message
from pathlib import Path

import pytest
from hub_server import COMMIT, HubServer

from edgerun.errors import EdgerunError, ModelError, ResourceError, SourceError, Unsupported, UsageError
from edgerun.hub import huggingface, snapshot
from edgerun.hub.snapshot import INDEX, checkpoint, present, repository
from edgerun.hub.source import Wish

WEIGHTS = bytes(range(256)) * 200
PARTS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
SMALL = ("config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "1_Pooling/config.json", "README.md")
WANTED = {name: name.encode() for name in SMALL}
OTHERS = {"pytorch_model.bin": b"pickle", "modeling_mine.py": b"code", "onnx/model.onnx": b"o", "original/consolidated.safetensors": b"s", "flax_model.msgpack": b"f"}


def offer(server: HubServer, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        server.add(f"user/repo/{name}", content)


def index(*files: object) -> bytes:
    return json.dumps({"weight_map": {f"t{i}": file for i, file in enumerate(files)}}).encode()


def fetched(server: HubServer) -> int:
    return len(server.requests("GET", "/store/"))


def test_only_what_a_conversion_reads_is_fetched(server: HubServer, cache: Path) -> None:
    offer(server, WANTED | OTHERS | {"model.safetensors": WEIGHTS})
    seen: list[str] = []
    folder = checkpoint("user/repo", Wish(lambda done, total, name: seen.append(name)))
    assert folder == cache / "models--user--repo" / "snapshots" / COMMIT
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == WANTED | {"model.safetensors": WEIGHTS}
    assert list(dict.fromkeys(seen))[-1] == "config.json"   # where it is, all is
    asked = len(server.seen)
    assert checkpoint("user/repo") == present("user/repo") == folder
    assert len(server.seen) == asked


def test_weights_in_parts(server: HubServer) -> None:
    offer(server, WANTED | {INDEX: index(*PARTS, PARTS[0]), PARTS[0]: WEIGHTS, PARTS[1]: b"2", "model-00003-of-00003.safetensors": b"of another", "model.safetensors": b"x"})
    folder = checkpoint("user/repo")
    assert sorted(path.name for path in folder.glob("*.safetensors")) == [*PARTS]
    (folder / PARTS[1]).unlink()
    assert present("user/repo") is None
    assert (checkpoint("user/repo") / PARTS[1]).read_bytes() == b"2"


def test_an_interrupted_fetch_is_no_checkpoint_and_continues(server: HubServer, cache: Path) -> None:
    offer(server, WANTED | {"model.safetensors": WEIGHTS})

    def stop(done: int, total: int | None, name: str) -> None:
        if name == "model.safetensors":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint("user/repo", Wish(stop))
    assert present("user/repo") is None
    before = fetched(server)
    assert (checkpoint("user/repo") / "model.safetensors").read_bytes() == WEIGHTS
    assert fetched(server) - before == 2   # the weights, and config.json, which comes last


@pytest.mark.parametrize(("files", "error", "message"), [
    ({"config.json": b"{}", "pytorch_model.bin": b"p"}, Unsupported, "'pytorch_model.bin' is a pickle, which can run code"),
    ({"m-Q8_0.gguf": b"GGUF"}, UsageError, "holds GGUF files and no safetensors; fetch one of them with edgerun pull, as hf:user/repo:m-Q8_0.gguf"),
    ({"README.md": b"r"}, ModelError, "holds no safetensors"),
    ({"model.safetensors": b"m"}, ModelError, "has no config.json"),
    ({"config.json": b"{}", "adapter_model.safetensors": b"m"}, ModelError, "nothing says which of its files"),
    ({"config.json": b"{}", INDEX: index("../../evil.safetensors"), "model.safetensors": b"m"}, ModelError, r"names '\.\./\.\./evil\.safetensors', which is not"),
    ({"config.json": b"{}", INDEX: index("/etc/passwd"), "model.safetensors": b"m"}, ModelError, "names '/etc/passwd'"),
    ({"config.json": b"{}", INDEX: index("a\x1b.safetensors"), "model.safetensors": b"m"}, ModelError, r"names 'a\\x1b"),
    ({"config.json": b"{}", INDEX: index(3), "model.safetensors": b"m"}, ModelError, "names '3'"),
    ({"config.json": b"{}", INDEX: b'{"weight_map": [1]}', "model.safetensors": b"m"}, ModelError, "no weight_map"),
    ({"config.json": b"{}", INDEX: b"[" * 100_000, "model.safetensors": b"m"}, ModelError, "no weight_map"),
    ({"config.json": b"{}", INDEX: index(*PARTS), PARTS[0]: b"m"}, ModelError, rf"lacks '{PARTS[1]}'"),
    ({"config.json": b"{}", INDEX: index(*(f"{i}.safetensors" for i in range(1001))), PARTS[0]: b"m"}, ModelError, "names 1001 files"),
])  # fmt: skip
def test_what_is_no_checkpoint_is_refused_before_weights_are_fetched(
    server: HubServer, files: dict[str, bytes], error: type[EdgerunError], message: str
) -> None:
    offer(server, files)
    with pytest.raises(error, match=message):
        checkpoint("user/repo")
    assert fetched(server) <= 2   # README.md and the index
    assert present("user/repo") is None


def test_a_repository_that_is_not_there(server: HubServer) -> None:
    with pytest.raises(SourceError, match="no such repository, or it is private"):
        checkpoint("user/repo")


def test_files_that_are_too_large_are_not_fetched(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(server, WANTED | {"model.safetensors": WEIGHTS, "tokenizer.json": bytes(5000)})
    monkeypatch.setattr(snapshot, "_LARGEST_SMALL", 4999)
    with pytest.raises(SourceError, match=r"'tokenizer\.json' has 5000 bytes, more than"):
        checkpoint("user/repo")
    monkeypatch.setattr(snapshot, "_LARGEST_SMALL", 5000)
    monkeypatch.setattr("edgerun.hub.space.shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(ResourceError, match=r"not enough disk: 0\.1 MB are needed"):
        checkpoint("user/repo")
    assert not server.requests("GET", hashlib.sha256(WEIGHTS).hexdigest())


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_a_damaged_file_is_not_kept(server: HubServer, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"tokenizer.json": b"tokens", "model.safetensors": WEIGHTS, "config.json": b"{}"}   # as they will be asked for
    offer(server, files)
    true = huggingface.HuggingFace._remote

    def remote(self: huggingface.HuggingFace, repo: str, asked: str, headers: Message) -> huggingface.RemoteFile:
        """As the hub does it with small files: they are named by their hash in git."""
        git = hashlib.sha1(b"blob %d\0" % len(files[asked]) + files[asked]).hexdigest()
        found = true(self, repo, asked, headers)
        return found if asked == "model.safetensors" else replace(found, etag=git)

    monkeypatch.setattr(huggingface.HuggingFace, "_remote", remote)
    server.faults += [("body", content) for content in list(files.values())[: list(files).index(name)]] + [("body", b"?" * len(files[name]))]
    with pytest.raises(SourceError, match=r"SHA-256|is not the file that the hub announced"):
        checkpoint("user/repo")
    assert present("user/repo") is None
    assert (checkpoint("user/repo") / name).read_bytes() == files[name]


def test_references() -> None:
    assert repository("hf:user/repo") == repository("https://huggingface.co/user/repo") == "user/repo"
    assert [repository(ref) for ref in ("hf:user/repo:Q8_0", "hf:user/repo/m.gguf", "smollm2:135m", "./folder", "https://host/x.gguf")] == [None] * 5
