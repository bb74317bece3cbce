"""Files with any part replaced by anything: an error of ours, or a file that can be written."""

import copy
import json
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from test_convert import checkpoint, save
from test_convert_vocabulary import PIECES, byte_level, proto

from edgerun.errors import EdgerunError
from edgerun.gguf.writer import GGUFWriter
from quant.convert import Checkpoint, Peft, Plan, adapter_plan, convert
from quant.convert.card import card
from quant.convert.sentencepiece_model import SentencePieceModel
from quant.convert.vocabulary import vocabulary

END = "<|endoftext|>"
FILES = {
    "tokenizer.json": byte_level(
        post_processor={"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": END}}, {"Sequence": {"id": "A"}}], "pair": []},
        model={"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]], "ignore_merges": False},
        added_tokens=[{"id": 3, "content": END, "special": True}],
    ),
    "tokenizer_config.json": {"bos_token": {"content": END}, "eos_token": END, "chat_template": [{"name": "default", "template": "x"}], "added_tokens_decoder": {"4": {"content": "<x>"}}},
    "special_tokens_map.json": {"pad_token": END, "additional_special_tokens": [END]},
    "added_tokens.json": {"<y>": 5},
    "config.json": {"model_type": "qwen2", "vocab_size": 8, "bos_token_id": 3, "text_config": {"eos_token_id": [3]}},
    "generation_config.json": {"eos_token_id": [3, 4], "temperature": 0.5, "top_k": 4},
}
UNIGRAM = {
    "added_tokens": [{"id": 0, "content": "<unk>", "special": True}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "Precompiled", "precompiled_charsmap": "AAEC"}]},
    "pre_tokenizer": {"type": "Metaspace", "prepend_scheme": "always"},
    "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["▁a", -1.5]]},
}
WORDPIECE = {"normalizer": {"type": "BertNormalizer", "lowercase": True}, "model": {"type": "WordPiece", "continuing_subword_prefix": "##", "vocab": {"a": 0, "##b": 1}}}
CHARACTERS = {"decoder": {"type": "ByteFallback"}, "model": {"type": "BPE", "byte_fallback": True, "vocab": {"a": 0, "b": 1, "ab": 2, "<0x0A>": 3}, "merges": ["a b"]}}
TREES = [FILES, *(FILES | {"tokenizer.json": each} for each in (UNIGRAM, WORDPIECE, CHARACTERS))]

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.just([]), st.just({}), st.just([[]]), st.just({"type": "Sequence"}), st.just("\ud800"), st.just(10**400)
)  # fmt: skip


def places(tree, path=()):
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(value, (*path, key))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_part_replaced(data: st.DataObject) -> None:
    files = copy.deepcopy(data.draw(st.sampled_from(TREES)))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from([path for path in places(files) if path]))
        node = files
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = copy.deepcopy(data.draw(ANYTHING))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, value in files.items():
            (folder / file).write_text(json.dumps(value))
        try:
            entries = [*vocabulary(folder), *card(folder)]
        except EdgerunError:
            return
        with GGUFWriter(folder / "made.gguf") as writer:
            for key, value, kind in entries:
                writer.add(key, value, kind)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_any_bytes_of_a_sentencepiece_model(data: st.DataObject) -> None:
    content = bytearray(proto(PIECES[:5] + PIECES[-2:]))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(EdgerunError):
        SentencePieceModel.parse(bytes(content[: data.draw(st.integers(0, len(content)))]))


ADAPTER = {"peft_type": "LORA", "lora_alpha": 8, "alpha_pattern": {"q_proj": 2}, "use_rslora": False, "use_dora": False, "base_model_name_or_path": "a/b", "modules_to_save": None}
QUANTIZATION = {"quant_method": "gptq", "bits": 4, "group_size": 32, "checkpoint_format": "gptq", "pack_dtype": "int32"}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(ADAPTER)), ANYTHING)
def test_any_part_of_an_adapter_replaced(key: str, value: object) -> None:
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
    with tempfile.TemporaryDirectory() as place:
        save(Path(place) / "adapter_model.safetensors", {f"{name}A.weight": np.ones((2, 8), np.float32), f"{name}B.weight": np.ones((8, 2), np.float32)})
        (Path(place) / "adapter_config.json").write_text(json.dumps(ADAPTER | {key: value}))
        with suppress(EdgerunError), Peft(Path(place)) as peft, Checkpoint(checkpoint(Path(place) / "model"), weights=False) as base:
            convert(adapter_plan(peft, base), Path(place) / "made.gguf")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(QUANTIZATION)), ANYTHING)
def test_any_part_of_a_quantization_replaced(key: str, value: object) -> None:
    name = "model.layers.0.mlp.up_proj."
    parts = {"qweight": np.ones((8, 64), np.int32), "qzeros": np.ones((2, 8), np.int32), "scales": np.ones((2, 64), np.float16)}
    with tempfile.TemporaryDirectory() as place:
        folder = checkpoint(Path(place), {name + part: array for part, array in parts.items()}, hidden_size=64, quantization_config=QUANTIZATION | {key: value})
        with suppress(EdgerunError), Checkpoint(folder) as source:
            convert(Plan.of(source), folder / "made.gguf")
