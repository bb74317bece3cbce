"""Adapters of PEFT's form made here, and random ones for the checkpoints of $EDGERUN_ORACLE: as files beside a model, and folded in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_convert import (
    CASES,
    FEED,
    MIXTRAL,
    ORACLE,
    TOKENS,
    WIDTH,
    bf16,
    checkpoint,
    converted,
    llama,
    mixtral,
    reference_batch,
    save,
    values,
)

from edgerun.adapter import Adapter
from edgerun.backends import reference
from edgerun.blueprint import Blueprint, Options
from edgerun.errors import ModelError, Unsupported, UsageError
from edgerun.gguf import GGUF, open_gguf
from quant.convert import Checkpoint, Peft, Plan, adapter_plan, convert, merged
from quant.convert.checkpoint import as_floats
from quant.convert.config import Config
from quant.convert.convert import sources as of_plan
from quant.convert.family import family_of
from quant.convert.plan import tied

LAYER = "model.layers.0."
SETTINGS = {"peft_type": "LORA", "r": 2, "lora_alpha": 8, "base_model_name_or_path": "someone/Some-Model", "use_dora": False, "alpha_pattern": {}}
DRAW = np.random.Generator(np.random.Philox(key=7))


def pair(name: str, rows: int, cols: int, rank: int = 2, end: str = ".weight") -> dict[str, np.ndarray]:
    """lora_A and lora_B of a module."""
    a, b = DRAW.normal(0, 1, (rank, cols)).astype(np.float32), DRAW.normal(0, 0.3, (rows, rank)).astype(np.float32)
    return {f"base_model.model.{name}.lora_A{end}": a, f"base_model.model.{name}.lora_B{end}": b}


def adapter(folder: Path, tensors: dict[str, np.ndarray], **settings: Any) -> Path:
    """A folder as PEFT saves it."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps(SETTINGS | settings))
    save(folder / "adapter_model.safetensors", tensors)
    return folder


def written(folder: Path, base: Path, outtype: str = "auto", **options: Any) -> GGUF:
    """The adapter's file, open."""
    with Checkpoint(base, weights=False) as model, Peft(folder) as peft:
        convert(adapter_plan(peft, model, outtype, **options), folder / "out.gguf")
    return open_gguf(folder / "out.gguf")


def folded(folder: Path, *adapters: tuple[Path, float], outtype: str = "f32") -> GGUF:
    """The model's file with adapters in it, open."""
    with Checkpoint(folder) as model:
        peft = [(Peft(path), scale) for path, scale in adapters]
        convert(Plan.of(model, outtype, change=lambda tensors, family, config: merged(tensors, peft, family, config)), folder / "merged.gguf", threads=2)
        for each, _ in peft:
            each.close()
    return open_gguf(folder / "merged.gguf")


def delta(file: GGUF, name: str) -> np.ndarray:
    """What an adapter's file adds to a tensor."""
    found = Adapter.of(file)
    a, b = values(file, f"{name}.lora_a"), values(file, f"{name}.lora_b")
    return found.factor(name) * (a @ b.T if name.startswith("token_embd") else b @ a)


def test_names_order_and_alpha(tmp_path: Path) -> None:
    tensors = pair(f"{LAYER}self_attn.q_proj", WIDTH, WIDTH) | pair(f"{LAYER}mlp.down_proj", WIDTH, FEED, rank=3, end=".default.weight")
    folder = adapter(tmp_path / "a", tensors)
    with written(folder, checkpoint(tmp_path / "model")) as file:
        wanted = {
            "general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora", "general.name": "a", "adapter.lora.alpha": 8.0,
            "general.base_model.0.name": "Some-Model", "general.base_model.0.organization": "someone",
        }  # fmt: skip
        assert {key: file.metadata[key] for key in wanted} == wanted
        names = [f"blk.0.{name}.weight.lora_{side}" for name in ("attn_q", "ffn_down") for side in "ab"]
        assert list(file.tensors) == names
        assert {tensor.type_name for tensor in file.tensors.values()} == {"F32"}
        q = tensors[f"base_model.model.{LAYER}self_attn.q_proj.lora_B.weight"]
        assert np.array_equal(values(file, names[1]), q[[0, 2, 1, 3, 4, 6, 5, 7]])   # halves of each head by turns, as the rows of q
        assert np.array_equal(values(file, names[2]), tensors[f"base_model.model.{LAYER}mlp.down_proj.lora_A.default.weight"])
        assert np.array_equal(values(file, names[3]), tensors[f"base_model.model.{LAYER}mlp.down_proj.lora_B.default.weight"])


def test_the_type_is_that_of_the_adapter(tmp_path: Path) -> None:
    tensors = pair(f"{LAYER}mlp.down_proj", WIDTH, FEED)
    base, halves = checkpoint(tmp_path / "model"), {name: bf16(value) for name, value in tensors.items()}
    folder = adapter(tmp_path / "a", halves)
    for outtype, kinds in {"auto": ["BF16", "BF16"], "f32": ["F32", "F32"], "q8_0": ["Q8_0", "F16"]}.items():   # a rank of 2 fills no block
        with written(folder, base, outtype) as file:
            assert [tensor.type_name for tensor in file.tensors.values()] == kinds
            if outtype != "q8_0":
                stored = (halves[f"base_model.model.{LAYER}mlp.down_proj.lora_B.weight"].astype(np.uint32) << 16).view(np.float32)
                assert np.array_equal(values(file, "blk.0.ffn_down.weight.lora_b"), stored)


@pytest.mark.parametrize(
    ("settings", "scales"),
    [
        ({}, (4.0, 8 / 3)),
        ({"lora_alpha": -1.5}, (-0.75, -0.5)),
        ({"use_rslora": True}, (8 / 2**0.5, 8 / 3**0.5)),
        ({"alpha_pattern": {"down_proj": 3}}, (4.0, 1.0)),
        ({"alpha_pattern": {"^model.layers.0.self_attn.o_proj": 5, "proj": 9}}, (2.5, 8 / 3)),
        ({"alpha_pattern": {"layers.0.mlp.down_proj": 6, "down_proj": 9}}, (4.0, 2.0)),
    ],
)
def test_scales(tmp_path: Path, settings: dict[str, Any], scales: tuple[float, float]) -> None:
    first, second = pair(f"{LAYER}self_attn.o_proj", WIDTH, WIDTH), pair(f"{LAYER}mlp.down_proj", WIDTH, FEED, rank=3)
    folder, base = adapter(tmp_path / "a", first | second, **settings), checkpoint(tmp_path / "model")
    with written(folder, base) as file, folded(base, (folder, 1.0)) as whole, converted(base) as plain:
        for name, (a, b), scale in zip(("blk.0.attn_output.weight", "blk.0.ffn_down.weight"), (first.values(), second.values()), scales, strict=True):
            assert np.allclose(delta(file, name), scale * b @ a, rtol=1e-5, atol=1e-6)
            assert np.allclose(values(whole, name) - values(plain, name), scale * b @ a, rtol=1e-4, atol=1e-5)


def test_experts(tmp_path: Path) -> None:
    at = f"{LAYER}block_sparse_moe.experts."
    every = {name: value for i in range(3) for name, value in pair(f"{at}{i}.w2", WIDTH, FEED).items()}
    folder, base = adapter(tmp_path / "a", every), checkpoint(tmp_path / "model", mixtral(), **MIXTRAL)
    with written(folder, base) as file:
        assert file.tensors["blk.0.ffn_down_exps.weight.lora_a"].shape == (3, 2, FEED)
        assert np.array_equal(values(file, "blk.0.ffn_down_exps.weight.lora_b")[1], every[f"base_model.model.{at}1.w2.lora_B.weight"])
    some = adapter(tmp_path / "b", {name: value for name, value in every.items() if ".experts.1." not in name})
    with pytest.raises(Unsupported, match="some of its matrices are adapted and others not, or with other ranks; fold it into the model"):
        written(some, base)
    with folded(base, (some, 1.0)) as whole:
        stack = values(whole, "blk.0.ffn_down_exps.weight")
        a, b = (every[f"base_model.model.{at}2.w2.lora_{side}.weight"] for side in "AB")
        assert np.allclose(stack[2], 2.5 + 4 * b @ a, atol=1e-5)
        assert np.all(stack[1] == 1.5)


def table(rows: int) -> dict[str, np.ndarray]:
    """A pair for the token table."""
    a, b = DRAW.normal(0, 1, (2, rows)).astype(np.float32), DRAW.normal(0, 0.3, (WIDTH, 2)).astype(np.float32)
    return {"base_model.model.model.embed_tokens.lora_embedding_A": a, "base_model.model.model.embed_tokens.lora_embedding_B": b}


def test_token_tables_and_heads(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "model")
    tensors = table(TOKENS) | pair("lm_head", TOKENS, WIDTH)
    folder = adapter(tmp_path / "a", tensors)
    a, b, head_a, head_b = tensors.values()
    with written(folder, base) as file, folded(base, (folder, 1.0)) as whole, converted(base) as plain:
        assert [file.tensors[f"token_embd.weight.lora_{side}"].shape for side in "ab"] == [(TOKENS, 2), (WIDTH, 2)]
        for name, wanted in (("token_embd.weight", 4 * (b @ a).T), ("output.weight", 4 * head_b @ head_a)):
            assert np.allclose(delta(file, name), wanted, rtol=1e-5, atol=1e-6)
            assert np.allclose(values(whole, name) - values(plain, name), wanted, rtol=1e-4, atol=1e-5)
    one = checkpoint(tmp_path / "tied", {name: value for name, value in llama().items() if name != "lm_head.weight"}, tie_word_embeddings=True)
    with pytest.raises(Unsupported, match=r"adapts lm_head\.weight, which is the token table in files of this model"):
        written(folder, one)
    with pytest.raises(Unsupported, match="adapts the token table, which is the output matrix too, and would change with it; apply it with --lora"):
        folded(one, (adapter(tmp_path / "b", table(TOKENS)), 1.0))


def test_tensors_that_are_replaced(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "model")
    head = DRAW.normal(0, 1, (TOKENS, WIDTH)).astype(np.float32)
    tensors = pair(f"{LAYER}mlp.down_proj", WIDTH, FEED) | {"base_model.model.lm_head.modules_to_save.weight": head, "base_model.model.model.norm.weight": np.full(WIDTH, 3, np.float32)}
    folder = adapter(tmp_path / "a", tensors)
    with pytest.raises(Unsupported, match=r"replaces lm_head\.weight, model\.norm\.weight as a whole, which no adapter file can; fold it into the model"):
        written(folder, base)
    with folded(base, (folder, 1.0)) as whole:
        assert np.array_equal(values(whole, "output.weight"), head)
        assert np.all(values(whole, "output_norm.weight") == 3)
    longer = adapter(tmp_path / "b", tensors | {"base_model.model.lm_head.modules_to_save.weight": np.ones((TOKENS + 1, WIDTH), np.float32)})
    with pytest.raises(Unsupported, match=r"has lm_head\.weight of shape \[13, 8\], the model has \[12, 8\]; merge it with PEFT"):
        folded(base, (longer, 1.0))


def test_rows_get_their_lengths(tmp_path: Path) -> None:
    """As huggingface.co/docs/peft merges a DoRA: W + scale * B A, then its rows as long as the vector says."""
    tensors = pair(f"{LAYER}mlp.down_proj", WIDTH, FEED)
    a, b = tensors.values()
    lengths = DRAW.uniform(1, 5, WIDTH).astype(np.float32)
    base = checkpoint(tmp_path / "model")
    for end in ("", ".weight", ".default"):
        folder = adapter(tmp_path / "a", tensors | {f"base_model.model.{LAYER}mlp.down_proj.lora_magnitude_vector{end}": lengths}, use_dora=True)
        with folded(base, (folder, 1.0)) as whole, converted(base) as plain:
            summed = values(plain, "blk.0.ffn_down.weight").astype(np.float64) + 4 * b.astype(np.float64) @ a
            wanted = summed * (lengths / np.sqrt((summed**2).sum(1)))[:, None]
            assert np.allclose(values(whole, "blk.0.ffn_down.weight"), wanted, rtol=1e-5, atol=1e-6)


def test_what_was_begun_with_other_adapters_is_not_continued(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "model")
    folders = [adapter(tmp_path / name, pair(f"{LAYER}mlp.down_proj", WIDTH, FEED)) for name in ("a", "b")]
    seen = []
    for folder, scale in ((folders[0], 1.0), (folders[0], 0.5), (folders[1], 1.0), (folders[0], 1.0)):
        with Checkpoint(base) as model, Peft(folder) as peft:
            seen.append(of_plan(Plan.of(model, "f32", change=lambda tensors, family, config: merged(tensors, [(peft, scale)], family, config))))   # noqa: B023
            seen.append(of_plan(adapter_plan(peft, model)))
    assert seen[0] == seen[6]
    assert seen[1] == seen[3] == seen[7]
    assert len(set(seen)) == 5


def test_copies_of_tables_do_not_count(tmp_path: Path) -> None:
    """PEFT saves them with adapters of embeddings and heads, trained or not."""
    base, name = checkpoint(tmp_path / "model"), "base_model.model.model.embed_tokens.base_layer.weight"
    folder = adapter(tmp_path / "a", table(TOKENS) | {name: llama()["model.embed_tokens.weight"]})
    with written(folder, base) as file, folded(base, (folder, 1.0)) as whole, converted(base) as plain:
        assert [*file.tensors] == ["token_embd.weight.lora_a", "token_embd.weight.lora_b"]
        added = values(whole, "token_embd.weight") - values(plain, "token_embd.weight")
        assert np.allclose(added, delta(file, "token_embd.weight"), rtol=1e-4, atol=1e-5)


def test_several_are_folded_in_and_the_type_stays(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "model", {name: bf16(value) for name, value in llama().items()})
    tensors = pair(f"{LAYER}mlp.down_proj", WIDTH, FEED)
    a, b = tensors.values()
    folder = adapter(tmp_path / "a", tensors)
    with folded(base, (folder, 0.5), (folder, 0.25), outtype="auto") as whole, converted(base, "f32") as plain:
        assert whole.tensors["blk.0.ffn_down.weight"].type_name == "BF16"
        wanted = values(plain, "blk.0.ffn_down.weight") + 3 * b @ a
        assert np.allclose(values(whole, "blk.0.ffn_down.weight"), wanted, rtol=2**-8)


Q = pair(f"{LAYER}self_attn.q_proj", WIDTH, WIDTH)
M = f"base_model.model.{LAYER}self_attn.q_proj.lora_magnitude_vector.weight"
A, B = (f"base_model.model.{LAYER}self_attn.q_proj.lora_{side}.weight" for side in "AB")


@pytest.mark.parametrize(
    ("tensors", "settings", "message"),
    [
        (Q, {"peft_type": "IA3"}, "is an adapter of type IA3; LORA ones are converted"),
        (Q, {"peft_type": None}, "is an adapter of type None"),
        (Q, {"layer_replication": [[0, 1]]}, "sets layer_replication, which is more than a product of two matrices; merge it with PEFT"),
        (Q, {"use_dora": True}, r"q_proj\.weight has no lora_magnitude_vector that fits it and the use_dora of adapter_config\.json"),
        (Q | {M: np.ones(7, np.float32)}, {"use_dora": True}, "has no lora_magnitude_vector that fits it"),
        (Q | {M: np.ones(8, np.float32)}, {}, "has no lora_magnitude_vector that fits it"),
        (Q | {M: np.ones(8, np.int64)}, {"use_dora": True}, "has no lora_magnitude_vector that fits it"),
        (Q | {M: np.ones(8, np.float32)}, {"use_dora": True}, "is a DoRA, which changes the length of rows too, as no adapter file can; fold it into the model"),
        (Q, {"lora_alpha": 0}, "has 0 for lora_alpha, not a number other than 0"),
        (Q, {"lora_alpha": "8"}, "has '8' for lora_alpha"),
        (Q, {"lora_alpha": None}, "has None for lora_alpha"),
        (Q, {"lora_alpha": 1e300}, "has 1e.300 for lora_alpha"),
        (Q, {"alpha_pattern": ["x"]}, "has an alpha_pattern that is no object"),
        (Q, {"alpha_pattern": {"(a+)+b": 1}}, "has the pattern '\\(a\\+\\)\\+b' in alpha_pattern; only names are understood"),
        ({A: Q[A]}, {}, r"model\.layers\.0\.self_attn\.q_proj\.weight has not one lora_A and one lora_B"),
        ({A: Q[A], B: Q[B].T.copy()}, {}, "which have no rank in common"),
        ({A: Q[A][0], B: Q[B]}, {}, "is F32 of shape .8., not a matrix of floats"),
        ({A: np.ones((2, WIDTH), np.int64), B: Q[B]}, {}, "is I64 of shape .2, 8., not a matrix of floats"),
        ({A: np.ones((0, WIDTH), np.float32), B: np.ones((WIDTH, 0), np.float32)}, {}, "not a matrix of floats"),
        (Q | {f"base_model.model.{LAYER}self_attn.q_proj.lora_B.bias": np.ones(8, np.float32)}, {}, "is not of a plain LoRA"),
        ({"x.weight": np.ones(2, np.float32)}, {}, "has no pairs of lora_A and lora_B"),
        (pair("model.layers.0.mlp.extra_proj", 4, 4), {}, "is not one that checkpoints of llama have"),
        (pair(f"{LAYER}self_attn.k_proj", 6, WIDTH) | pair(f"{LAYER}self_attn.q_proj", 7, WIDTH), {}, r"has the shape \[7, 8\], which does not fit config\.json"),
        (pair("model.layers.7.mlp.down_proj", WIDTH, FEED), {}, "which has no part in the model's file"),
    ],
)
def test_adapters_that_cannot_be_converted(tmp_path: Path, tensors: dict[str, np.ndarray], settings: dict[str, Any], message: str) -> None:
    folder = adapter(tmp_path / "a", tensors, **settings)
    with pytest.raises(ModelError, match=message) as caught:
        written(folder, checkpoint(tmp_path / "model"))
    assert str(caught.value).isprintable()
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


def test_what_cannot_be_folded_in(tmp_path: Path) -> None:
    base = checkpoint(tmp_path / "model")
    with pytest.raises(ModelError, match=r"adapts a model\.layers\.0\.mlp\.down_proj\.weight of shape \[8, 9\]; the checkpoint's is F32 of \[8, 32\]"):
        folded(base, (adapter(tmp_path / "a", pair(f"{LAYER}mlp.down_proj", WIDTH, 9)), 1.0))
    with pytest.raises(ModelError, match=r"changes model\.layers\.3\.mlp\.down_proj\.weight, which the checkpoint does not have; it was made for another one"):
        folded(base, (adapter(tmp_path / "b", pair("model.layers.3.mlp.down_proj", WIDTH, FEED)), 1.0))


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a folder with adapter_config\.json"):
        Peft(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "adapter_model.bin").write_bytes(b"\x80")
    with pytest.raises(ModelError, match=r"has no adapter_model\.safetensors \(adapter_model\.bin is a pickle"):
        Peft(tmp_path)
    (tmp_path / "adapter_config.json").write_text("[]")
    with pytest.raises(ModelError, match="holds no JSON object"):
        Peft(tmp_path)


def everywhere(case: str, rank: int = 3) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Random pairs for all matrices of an oracle's checkpoint but those that are cut along heads, and the weights with them in."""
    draw, pairs, whole = np.random.default_rng(0), {}, {}
    with Checkpoint(ORACLE / case / "hf") as source:
        family = family_of(source.config)
        config = Config(source.config, family.defaults)
        untied = "lm_head.weight" in source.tensors and not tied("lm_head.weight", config)
        for name, stored in source.tensors.items():
            x = whole[name] = as_floats(stored.read(), stored.dtype)
            made = [to.name for to, _ in family.targets(name, config)] if not tied(name, config) else []
            looked_up = any(to.startswith("token_embd") for to in made)
            other = any(part in to for to in made for part in ("norm", "conv", "position", "token_types"))
            if x.ndim != 2 or not name.endswith(".weight") or not made or other or "kv_b" in name or (looked_up and not untied):
                continue
            rows, cols = x.T.shape if case == "gpt2" and ".c_" in name else x.shape
            rows, cols = (cols, rows) if looked_up else (rows, cols)
            a, b = draw.normal(0, 1, (rank, cols)).astype(np.float32), draw.normal(0, 0.3 * np.sqrt((x**2).mean()), (rows, rank)).astype(np.float32)
            module, (left, right) = name.removesuffix(".weight"), ("lora_embedding_A", "lora_embedding_B") if looked_up else ("lora_A.weight", "lora_B.weight")
            pairs |= {f"base_model.model.{module}.{left}": a, f"base_model.model.{module}.{right}": b}
            product = 8 / rank * (b @ a)
            whole[name] = x + (product if product.shape == x.shape and not looked_up and not (case == "gpt2" and ".c_" in name) else product.T)
    return pairs, whole


@pytest.mark.skipif(not CASES, reason="EDGERUN_ORACLE names no folder with checkpoints")
@pytest.mark.parametrize("case", CASES)
def test_beside_the_model_and_folded_in_is_the_same(case: str, tmp_path: Path) -> None:
    pairs, whole = everywhere(case)
    folder = adapter(tmp_path / "a", pairs)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text((ORACLE / case / "hf" / "config.json").read_text())
    save(tmp_path / "model" / "model.safetensors", whole)
    with Checkpoint(ORACLE / case / "hf") as source, Peft(folder) as peft:
        convert(Plan.of(source, "f32", change=lambda tensors, family, config: merged(tensors, [(peft, 1.0)], family, config)), tmp_path / "merged.gguf")
    tokens = np.load(ORACLE / case / "golden.npz")["tokens_2"]
    with written(folder, ORACLE / case / "hf") as lora, open_gguf(ORACLE / case / "model.gguf") as model:
        beside = logits(Blueprint.of(model, Options(), [Adapter.of(lora)]), tokens)
        plain = logits(Blueprint.of(model, Options()), tokens)
    with converted(tmp_path / "model") as wanted, open_gguf(tmp_path / "merged.gguf") as inside:
        want, merge = (logits(Blueprint.of(file, Options()), tokens) for file in (wanted, inside))
    scale = (want**2).sum()
    assert ((beside - want) ** 2).sum() / scale < 1e-10
    assert ((merge - want) ** 2).sum() / scale < 1e-10
    assert ((plain - want) ** 2).sum() / scale > 1e-2


def logits(blueprint: Blueprint, tokens: np.ndarray) -> np.ndarray:
    return reference.compile(blueprint.program, blueprint.tensors, pages=1).step(reference_batch(tokens)).astype(np.float64)
