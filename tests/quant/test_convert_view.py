"""A checkpoint read as if it were a model file: the same as the file that it converts to, and quantized without one in between."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from test_convert import CASES, MIXTRAL, ORACLE, TOKENS, bf16, checkpoint, llama, mixtral

from edgerun.errors import ModelError, Unsupported, UsageError
from edgerun.gguf import GGUF, open_gguf
from quant.convert import convert, pieces
from quant.convert.view import View, open_checkpoint
from quant.plan import Plan
from quant.quantize import quantize
from quant.recipes import RECIPES


def letters(folder: Path) -> Path:
    """The folder, with a vocabulary of as many letters as the checkpoints here have tokens."""
    model = {"type": "BPE", "vocab": {chr(ord("a") + i): i for i in range(TOKENS)}, "merges": []}
    pieces = {"type": "Sequence", "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]}
    (folder / "tokenizer.json").write_text(json.dumps({"model": model, "added_tokens": [], "pre_tokenizer": pieces, "decoder": {"type": "ByteLevel"}}))
    return folder


def equal(view: GGUF, file: GGUF) -> None:
    assert list(view.tensors) == list(file.tensors)
    for name, tensor in file.tensors.items():
        found = view.tensors[name]
        assert (found.shape, found.type, found.nbytes, found.rows) == (tensor.shape, tensor.type, tensor.nbytes, tensor.rows)
        content = tensor.read()
        assert np.array_equal(found.read(), content), name
        for start, stop in ((0, 1), (tensor.rows // 3, tensor.rows // 2 + 1), (tensor.rows - 1, tensor.rows), (0, 0)):
            assert np.array_equal(found.read(start, stop), content[start:stop]), name
    assert dict(view.metadata) == dict(file.metadata)
    assert [view.metadata.kind(key) for key in view.metadata] == [file.metadata.kind(key) for key in file.metadata]


def converted(view: View, out: Path) -> GGUF:
    convert(view.plan, out)
    return open_gguf(out)


@pytest.mark.parametrize("experts", [False, True])
def test_it_is_the_file_that_it_converts_to(tmp_path: Path, experts: bool) -> None:
    folder = letters(checkpoint(tmp_path / "c", mixtral() if experts else llama(), **(MIXTRAL if experts else {})))
    with open_checkpoint(folder) as view, converted(view, tmp_path / "m.gguf") as file:
        equal(view, file)


@pytest.mark.skipif(not CASES, reason="$EDGERUN_ORACLE names no checkpoints")
@pytest.mark.parametrize("case", CASES)
def test_so_are_those_of_the_oracle(tmp_path: Path, case: str) -> None:
    with open_checkpoint(ORACLE / case / "hf") as view, converted(view, tmp_path / "m.gguf") as file:
        equal(view, file)


@pytest.mark.parametrize("recipe", ["Q8_0", "IQ4_NL", "F16"])
def test_quantized_without_a_file_in_between(tmp_path: Path, recipe: str) -> None:
    folder = letters(checkpoint(tmp_path / "c", mixtral(), hidden_size=8, **MIXTRAL))
    with open_checkpoint(folder) as view, converted(view, tmp_path / "m.gguf") as file:
        for source, out in ((view, "a.gguf"), (file, "b.gguf")):
            quantize(source, Plan.of(source, RECIPES[recipe]), tmp_path / out, threads=3)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    assert not list(folder.glob("*.gguf"))


@pytest.mark.parametrize(("make", "wanted"), [(lambda x: x, "F32"), (lambda x: x.astype("<f2"), "F16"), (bf16, "BF16")])
def test_nothing_of_the_checkpoint_is_lost(tmp_path: Path, make, wanted: str) -> None:   # type: ignore[no-untyped-def]
    tensors = {name: make(value) for name, value in llama().items()}
    with open_checkpoint(letters(checkpoint(tmp_path, tensors))) as view:
        assert view.tensors["blk.0.ffn_up.weight"].type_name == wanted
        assert view.tensors["blk.0.attn_norm.weight"].type_name == "F32"
        assert np.array_equal(view.tensors["blk.0.ffn_up.weight"].read().reshape(-1), tensors["model.layers.0.mlp.up_proj.weight"].view(np.uint8).reshape(-1))
    tensors["model.layers.0.mlp.up_proj.weight"] = llama()["model.layers.0.mlp.up_proj.weight"]   # one that needs more
    with open_checkpoint(letters(checkpoint(tmp_path, tensors))) as view:
        assert view.tensors["blk.0.ffn_up.weight"].type_name == "F32"


def test_threads_read_what_has_to_be_made_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    true = pieces.moved
    monkeypatch.setattr(pieces, "moved", lambda *arguments: made.append(1) or true(*arguments))
    with open_checkpoint(letters(checkpoint(tmp_path))) as view:
        tensor = view.tensors["blk.0.attn_q.weight"]   # rows change places
        whole = tensor.read()
        found: dict[int, np.ndarray] = {}
        threads = [threading.Thread(target=lambda i=i: found.__setitem__(i, tensor.read(i, i + 1))) for i in range(tensor.rows)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert np.array_equal(np.concatenate([found[i] for i in range(len(whole))]), whole)
    assert len(made) == 1


def test_what_cannot_be_converted_cannot_be_opened(tmp_path: Path) -> None:
    folder = letters(checkpoint(tmp_path / "c"))
    with pytest.raises(UsageError, match="is not a folder"):
        open_checkpoint(tmp_path / "nothing")
    with pytest.raises(Unsupported, match="cannot be converted"):
        open_checkpoint(letters(checkpoint(tmp_path / "d", model_type="who")))
    view = open_checkpoint(folder)
    with open(folder / "model.safetensors", "r+b") as file:
        file.truncate(5000)
    with view, pytest.raises(ModelError, match="was cut short at byte 5000 while in use"):
        quantize(view, Plan.of(view, RECIPES["Q8_0"]), tmp_path / "out.gguf")
    assert not list(tmp_path.glob("out*"))


def test_its_own_files_are_never_overwritten(tmp_path: Path) -> None:
    folder = letters(checkpoint(tmp_path / "c"))
    with open_checkpoint(folder) as view, pytest.raises(UsageError, match="is the model itself"):
        quantize(view, Plan.of(view, RECIPES["Q8_0"]), folder / "model.safetensors")
