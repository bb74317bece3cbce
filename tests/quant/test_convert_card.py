import json
from pathlib import Path

import pytest

from quant.convert.card import card
from quant.convert.model_name import ModelName, title

README = """---
language:
- en
- "no"
license: apache-2.0
license_name: 'their own'   # what they call it
tags: [chat, small]
pipeline_tag: text-generation
base_model: user/Base-7B-v2
datasets:
- https://huggingface.co/datasets/some-one/texts
- plain
model-index:
- name: a
  results:
    - task: {}
description: |
  folded
---
# Text
author: nobody
"""


def written(folder: Path, **files) -> dict:
    for name, value in files.items():
        (folder / name.replace("__", ".")).write_text(value if isinstance(value, str) else json.dumps(value))
    return {key: value for key, value, _ in card(folder)}


def test_card(tmp_path: Path) -> None:
    folder = tmp_path / "Tiny-135M-Instruct"
    folder.mkdir()
    assert written(folder, README__md=README) == {
        "general.name": "Tiny 135M Instruct",
        "general.basename": "Tiny",
        "general.finetune": "Instruct",
        "general.size_label": "135M",
        "general.license": "apache-2.0",
        "general.license.name": "their own",
        "general.base_model.count": 1,
        "general.base_model.0.name": "Base 7B v2",
        "general.base_model.0.version": "v2",
        "general.base_model.0.organization": "User",
        "general.base_model.0.repo_url": "https://huggingface.co/user/Base-7B-v2",
        "general.dataset.count": 2,
        "general.dataset.0.name": "Texts",
        "general.dataset.0.organization": "Some One",
        "general.dataset.0.repo_url": "https://huggingface.co/datasets/some-one/texts",
        "general.dataset.1.name": "Plain",
        "general.tags": ["chat", "small", "text-generation"],
        "general.languages": ["en", "no"],
    }


def test_the_hub_s_cache_has_the_name_above(tmp_path: Path) -> None:
    folder = tmp_path / "models--user--Tiny-1B" / "snapshots" / ("0a" * 20)
    folder.mkdir(parents=True)
    found = {key: value for key, value, _ in card(folder)}
    assert (found["general.name"], found["general.organization"]) == ("Tiny 1B", "User")
    assert {key: value for key, value, _ in card(folder, name="me/Other-2B")}["general.name"] == "Other 2B"


def test_sampling(tmp_path: Path) -> None:
    advised = {"temperature": 0.7, "top_k": 20, "top_p": 1, "min_p": "x", "repetition_penalty": 1.05, "mirostat": True, "xtc_threshold": 10**400, "do_sample": True}
    (tmp_path / "generation_config.json").write_text(json.dumps(advised))
    assert [entry for entry in card(tmp_path) if "sampling" in entry[0]] == [
        ("general.sampling.top_k", 20, "i32"),
        ("general.sampling.top_p", 1.0, "f32"),
        ("general.sampling.temp", 0.7, "f32"),
        ("general.sampling.penalty_repeat", 1.05, "f32"),
    ]


@pytest.mark.parametrize("text", ["---", "---\n", "---\n- a\n- b\n---", "---\nlicense:\n---", "---\nlicense: !!python/object:os.system\n---", "---\n" + "a: b\n" * 9000, "\xff" * 99])
def test_cards_that_say_nothing(tmp_path: Path, text: str) -> None:
    assert not {"general.license", "general.tags"} & set(written(tmp_path, README__md=text))


@pytest.mark.parametrize(
    ("text", "weights", "parts"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 0, ("meta-llama", "Llama-3.1", "8B", "Instruct", None)),
        ("Mixtral-8x7B-Instruct-v0.1", 0, (None, "Mixtral", "8x7B", "Instruct", "v0.1")),
        ("Phi-3-mini-4k-instruct", 3_800_000_000, (None, "Phi-3", "mini", "4k-instruct", None)),
        ("Mistral-Small-3.2-24B-Instruct-2506", 0, (None, "Mistral-Small-3.2", "24B", "Instruct", "2506")),
        ("bloom-7b1", 0, (None, "bloom", "7.1B", None, None)),
        ("Qwen3-30B-A3B-Instruct-2507", 0, (None, "Qwen3", "30B-A3B", "Instruct", "2507")),
        ("bert", 0, (None, None, None, None, None)),
        ("A model of mine", 0, (None, None, None, None, None)),
        ("x" * 999, 0, (None, None, None, None, None)),
        ("-", 0, (None, None, None, None, None)),
    ],
)
def test_names(text: str, weights: int, parts: tuple) -> None:
    name = ModelName.parse(text, weights)
    assert (name.organization, name.basename, name.size_label, name.finetune, name.version) == parts


def test_titles() -> None:
    assert title("qwen2.5-coder-0.5b v1.5 GGUF") == "Qwen2.5 Coder 0.5b v1.5 GGUF"
