"""A copy with other keys differs in these keys only."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerun.errors import EdgerunError, OutputError, UsageError
from edgerun.gguf import open_gguf
from quant.edit import Change, edit

MODEL = Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf"


def edited(out: Path, *changes: str, removed: tuple[str, ...] = ()) -> Path:
    with open_gguf(MODEL) as file:
        edit(file, out, [Change.parse(text, file.metadata) for text in changes], removed)
    return out


def test_only_what_was_asked_for_changes(tmp_path: Path) -> None:
    out = edited(tmp_path / "m.gguf", "general.name=Tïny", "llama.rope.freq_base=20000", "my.list=[1, 2]", "my.flag=true", "my.count=u16:9", removed=("general.type",))
    with open_gguf(MODEL) as old, open_gguf(out) as new:
        assert new.metadata["general.name"] == "Tïny"
        assert (new.metadata["llama.rope.freq_base"], new.metadata.kind("llama.rope.freq_base")) == (20000.0, "f32")
        assert (new.metadata["my.list"], new.metadata["my.flag"]) == ("[1, 2]", True)
        assert new.metadata.kind("my.count") == "u16"
        changed = {"general.name", "llama.rope.freq_base"}
        assert set(old.metadata) - set(new.metadata) == {"general.type"}
        same = [key for key in old.metadata if key in new.metadata and key not in changed]
        assert all(old.metadata.kind(k) == new.metadata.kind(k) and old.metadata[k] == new.metadata[k] for k in same)
        assert list(old.tensors) == list(new.tensors)
        assert all((t.read() == new.tensors[name].read()).all() and (t.type, t.shape) == (new.tensors[name].type, new.tensors[name].shape) for name, t in old.tensors.items())


def test_a_list_keeps_its_type(tmp_path: Path) -> None:
    with open_gguf(MODEL) as file:
        kinds, count = file.metadata.kind("tokenizer.ggml.token_type"), file.metadata.count("tokenizer.ggml.token_type")
        change = Change.parse(f"tokenizer.ggml.token_type={[1] * (count or 0)}", file.metadata)
    assert kinds.startswith(f"[{change.kind};")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("general.name", "is not key=value"),
        ("=x", "is not key=value"),
        ("llama.block_count=many", "is of type u32, which cannot hold"),
        ("llama.block_count=-1", "is of type u32"),
        ("llama.block_count=1.5", "is of type u32"),
        ("new.key=u8:256", "is of type u8"),
        ("new.key=bool:1", "is of type bool"),
        ("tokenizer.ggml.tokens=x", "is a list; give one as JSON"),
        ("tokenizer.ggml.tokens=[1]", "is of type str"),
        ("general.alignment=64", "cannot be changed"),
    ],
)
def test_changes_that_make_no_sense(text: str, message: str) -> None:
    with open_gguf(MODEL) as file, pytest.raises(UsageError, match=message):
        Change.parse(text, file.metadata)


def test_a_key_that_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no key 'no\.such'"):
        edited(tmp_path / "m.gguf", removed=("no.such",))
    assert not list(tmp_path.iterdir())


def test_the_model_itself_is_never_overwritten(tmp_path: Path) -> None:
    copy = tmp_path / "m.gguf"
    copy.write_bytes(MODEL.read_bytes())
    with open_gguf(copy) as file, pytest.raises(UsageError, match="is the model itself"):
        edit(file, copy, [])


@pytest.mark.parametrize("out", ["/proc/m.gguf", "/no/such/folder/m.gguf"])
def test_a_place_that_takes_no_file(out: str) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        edited(Path(out), "general.name=x")
    with open_gguf(MODEL) as file, pytest.raises(EdgerunError):
        edit(file, Path(out), [])
