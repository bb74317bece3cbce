"""The families of checkpoints against the architectures that edgerun computes, and against the names and keys of the golden files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgerun.models
from quant.convert.config import Config
from quant.convert.family import Family, To, families, family_of

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "architectures").glob("*.npz"))
# A form that llama.cpp's converter no longer writes; layers that guess further tokens, which are left out.
OLD, GUESSES = {"attn_kv_b"}, re.compile(r"\.nextn\.|nextn_predict_layers|^blk\.2\.")
KINDS = {"vocab_size", "attention.relative_buckets_count"}


def stems(family: Family) -> set[str]:
    """GGUF's names of all tensors that are made, without blk.N., .weight and .bias."""
    made: set[str] = set()
    for to in [*family.outer.values(), *family.layer.values()]:
        for one in to if isinstance(to, tuple) else () if to is None else (to,):
            made.add(re.sub(r"\.(weight|bias)$", "", one.name if isinstance(one, To) else one))
    return made


def test_every_architecture_has_checkpoints() -> None:
    assert set(edgerun.models.families()) <= {re.sub(r"[-.]", "_", family.architecture) for family in families()}


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_names_and_keys_of_golden_files(path: Path) -> None:
    with np.load(path) as file:
        about = json.loads(file["about"].tobytes())
    architecture = about["metadata"]["general.architecture"]
    fitting = [family for family in families() if family.architecture == architecture]
    names = {re.sub(r"^blk\.\d+\.|\.(weight|bias)$", "", name) for name in about["shapes"] if not GUESSES.search(name)}
    assert names - {"rope_freqs", "rope_factors_long", "rope_factors_short"} - OLD <= set().union(*map(stems, fitting))
    keys = {key.removeprefix(f"{architecture}.") for key in about["metadata"] if not key.startswith("general.") and not GUESSES.search(key)}
    assert keys - KINDS <= set().union(*(family.keys.keys() | family.scalars.keys() for family in fitting))


@pytest.mark.parametrize("family", families(), ids=lambda family: f"{family.architecture}-{family.model_types[0]}")
def test_no_name_has_two_meanings(family: Family) -> None:
    assert family.model_types
    assert not [name for name in (*family.outer, *family.layer) if name.endswith((".weight", ".bias")) or name.startswith("model.")]
    assert "token_embd" in stems(family)


@pytest.mark.parametrize(
    ("config", "architecture"),
    [
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, "bert"),
        ({"model_type": "mistral3", "text_config": {"model_type": "mistral"}}, "mistral3"),
        ({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}}, "gemma3"),
        ({"model_type": "llava", "text_config": {"model_type": "qwen2"}}, "qwen2"),
        ({"model_type": "granitemoehybrid", "num_hidden_layers": 2, "layer_types": ["attention"] * 2, "num_local_experts": 0}, "granite"),
        ({"model_type": "granitemoehybrid", "num_hidden_layers": 2, "layer_types": ["attention"] * 2, "num_local_experts": 8}, "granitemoe"),
        ({"model_type": "granitemoehybrid", "num_hidden_layers": 2, "layer_types": ["mamba", "attention"], "num_local_experts": 0}, "granitehybrid"),
    ],
)
def test_which_family(config: dict[str, Any], architecture: str) -> None:
    assert family_of(config).architecture == architecture


def test_images_have_no_part() -> None:
    family = family_of({"model_type": "gemma3"})
    config = Config({"model_type": "gemma3", "text_config": {"num_hidden_layers": 2}})
    assert family.targets("vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight", config) == []
    ((to, number),) = family.targets("model.language_model.layers.1.self_attn.q_proj.weight", config)
    assert (to.name, number) == ("blk.1.attn_q.weight", None)
    assert family.targets("model.layers.2.self_attn.q_proj.weight", config) == []   # beyond the layers
