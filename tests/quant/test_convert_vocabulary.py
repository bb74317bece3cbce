import json
import os
import struct
from pathlib import Path

import pytest

from edgerun.errors import ModelError, TemplateError, TokenizerError
from edgerun.gguf import open_gguf
from edgerun.gguf.writer import GGUFWriter
from edgerun.text.bpe import ALPHABET
from edgerun.text.tokenizer import tokenizer_from
from quant.convert.vocabulary import vocabulary

ORACLE = Path(os.environ.get("EDGERUN_ORACLE", "nowhere"))
MODELS = Path(os.environ.get("EDGERUN_TEST_MODELS", Path.home() / ".cache" / "edgerun-test-models"))
QWEN = {
    "type": "Sequence",
    "pretokenizers": [
        {
            "type": "Split",
            "pattern": {
                "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
            },
            "behavior": "Isolated",
            "invert": False,
        },
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
    ],
}
MERGES = ["h e", "l l", "he ll", "hell o", "Ġ w", "o r", "Ġw or", "Ġwor l", "Ġworl d"]


def byte_level(**changes):
    """A tokenizer.json of byte-level BPE with the 256 bytes, the tokens of MERGES and two special tokens."""
    tokens = [*ALPHABET, *(merge.replace(" ", "") for merge in MERGES)]
    tokenizer = {
        "added_tokens": [
            {"id": 265, "content": "<|endoftext|>", "special": True, "normalized": False},
            {"id": 266, "content": "<tool▁call>", "special": False, "normalized": False},
        ],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": QWEN,
        "post_processor": None,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {text: id for id, text in enumerate(tokens)}, "merges": [merge.split(" ") for merge in MERGES]},
    }
    return tokenizer | changes


def write(folder: Path, **files) -> Path:
    """A checkpoint folder; names have `__` for a dot."""
    for name, value in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode())
    return folder


def values(folder: Path, *args, **options):
    return {key: value for key, value, _ in vocabulary(folder, *args, **options)}


def field(number: int, value: bytes | int) -> bytes:
    return varint(number << 3) + varint(value) if isinstance(value, int) else varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    head = b""
    while value > 127:
        head, value = head + bytes((value & 127 | 128,)), value >> 7
    return head + bytes((value,))


def proto(pieces, kind=2, prefix=1, squeeze=0, charsmap=b"") -> bytes:
    """A SentencePiece model of (text, score, type)."""
    made = b"".join(field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + field(3, type)) for text, score, type in pieces)
    return made + field(2, field(3, kind)) + field(3, field(2, charsmap) + field(3, prefix) + field(4, squeeze))


PIECES = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), *((f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)), ("▁hi", -1.0, 1), ("▁", -2.0, 1)]


@pytest.mark.skipif(not ORACLE.is_dir(), reason="EDGERUN_ORACLE names no folder of checkpoints")
@pytest.mark.parametrize("name", sorted(path.parent.name for path in ORACLE.glob("*/model.gguf")))
def test_every_key_is_that_of_llama_cpp(name: str, tmp_path: Path) -> None:
    entries = vocabulary(ORACLE / name / "hf")
    with GGUFWriter(tmp_path / "made.gguf") as writer:
        for key, value, kind in entries:
            writer.add(key, value, kind)
    made, theirs = open_gguf(tmp_path / "made.gguf").metadata, open_gguf(ORACLE / name / "model.gguf").metadata
    assert {key: made[key] for key in made} == {key: theirs[key] for key in theirs if key.startswith("tokenizer.")}
    tokenizer = tokenizer_from(dict(made.items()))
    for case in json.loads((ORACLE / name / "notes.json").read_text())["tokenization"]:
        assert tokenizer.encode(case["text"]) == case["llama_cpp"]


def test_byte_level(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        tokenizer__json=byte_level(),
        tokenizer_config__json={"eos_token": {"content": "<|endoftext|>"}, "pad_token": "<|endoftext|>", "add_bos_token": False, "chat_template": "{{ x }}"},
        config__json={"model_type": "qwen2", "vocab_size": 270},
    )
    found = values(folder)
    assert found["tokenizer.ggml.model"] == "gpt2"
    assert found["tokenizer.ggml.pre"] == "qwen2"
    assert found["tokenizer.ggml.tokens"][265:] == ["<|endoftext|>", "<tool call>", "[PAD267]", "[PAD268]", "[PAD269]"]
    assert found["tokenizer.ggml.token_type"][264:] == [1, 3, 4, 5, 5, 5]
    assert found["tokenizer.ggml.merges"] == MERGES
    assert (found["tokenizer.ggml.eos_token_id"], found["tokenizer.ggml.padding_token_id"]) == (265, 265)
    assert found["tokenizer.ggml.add_bos_token"] is False
    assert found["tokenizer.chat_template"] == "{{ x }}"
    tokenizer = tokenizer_from(found)
    assert tokenizer.encode("hello world") == [259, 264]
    assert len(values(folder, 300)["tokenizer.ggml.tokens"]) == 300
    assert len(values(folder, 266)["tokenizer.ggml.tokens"]) == 266   # the last added token has no embedding
    with pytest.raises(TokenizerError, match="265 tokens, the model 200"):
        values(write(tmp_path, tokenizer__json=byte_level(added_tokens=[])), 200)


def test_files_of_old(tmp_path: Path) -> None:
    model = byte_level()["model"]
    folder = write(
        tmp_path,
        vocab__json=model["vocab"],
        merges__txt="#version: 0.2\n" + "\n".join(MERGES) + "\n",
        added_tokens__json={"<|im_end|>": 265},
        special_tokens_map__json={"eos_token": "<|im_end|>"},
        config__json={"model_type": "gpt2"},
    )
    found = values(folder)
    assert found["tokenizer.ggml.pre"] == "gpt-2"
    assert (found["tokenizer.ggml.tokens"][265], found["tokenizer.ggml.token_type"][265], found["tokenizer.ggml.eos_token_id"]) == ("<|im_end|>", 3, 265)
    assert found["tokenizer.ggml.merges"] == MERGES
    with pytest.raises(TokenizerError, match="--pre NAME"):
        values(write(tmp_path, config__json={"model_type": "another"}))
    assert values(folder, pre="starcoder")["tokenizer.ggml.pre"] == "starcoder"


def test_spaces_in_merges_become_letters(tmp_path: Path) -> None:
    model = byte_level()["model"]
    tokens = {**model["vocab"], "Ġa": 265}
    write(tmp_path, tokenizer__json=byte_level(added_tokens=[], model=model | {"vocab": tokens, "merges": [[" ", "a"]]}), config__json={"model_type": "qwen2"})
    assert values(tmp_path)["tokenizer.ggml.merges"] == ["Ġ a"]


def test_normalizers_that_a_gguf_cannot_name(tmp_path: Path) -> None:
    write(tmp_path, tokenizer__json=byte_level(normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]}))
    with pytest.raises(TokenizerError, match="Lowercase"):
        values(tmp_path)
    assert values(tmp_path, pre="qwen2")["tokenizer.ggml.pre"] == "qwen2"


def test_sentencepiece(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        tokenizer__model=proto(PIECES, prefix=0),
        added_tokens__json={"<tool>": 261},
        tokenizer_config__json={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "added_tokens_decoder": {"262": {"content": "<|end|>"}}},
        config__json={"model_type": "llama", "vocab_size": 264, "bos_token_id": 1},
    )
    found = values(folder)
    assert found["tokenizer.ggml.model"] == "llama"
    assert found["tokenizer.ggml.tokens"][259:] == ["▁hi", "▁", "<tool>", "<|end|>", "[PAD263]"]
    assert found["tokenizer.ggml.token_type"][259:] == [1, 1, 4, 3, 5]
    assert found["tokenizer.ggml.scores"][259:] == [-1.0, -2.0, -1000.0, -1000.0, -10000.0]
    assert [found[f"tokenizer.ggml.{each}_token_id"] for each in ("bos", "eos", "unknown")] == [1, 2, 0]
    assert found["tokenizer.ggml.add_space_prefix"] is False
    assert values(write(tmp_path, tokenizer__model=proto(PIECES))).get("tokenizer.ggml.add_space_prefix") is None


def test_characters_in_a_tokenizer_json(tmp_path: Path) -> None:
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "h", "i", "▁h", "▁hi"]
    tokenizer = {
        "added_tokens": [{"id": id, "content": texts[id], "special": True} for id in range(3)],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}]},
        "model": {"type": "BPE", "byte_fallback": True, "vocab": {text: id for id, text in enumerate(texts)}, "merges": ["▁ h", "▁h i"]},
    }
    write(tmp_path, tokenizer__json=tokenizer, tokenizer_config__json={"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"})
    found = values(tmp_path)
    assert found["tokenizer.ggml.model"] == "llama"
    assert tokenizer_from(found).encode("hi é") == [1, 263, 259, 3 + 0xC3, 3 + 0xA9]
    gemma4 = values(write(tmp_path, config__json={"model_type": "gemma4_text"}))
    assert (gemma4["tokenizer.ggml.model"], gemma4["tokenizer.ggml.merges"], gemma4["tokenizer.ggml.add_space_prefix"]) == ("gemma4", ["▁ h", "▁h i"], False)


def test_unigram(tmp_path: Path) -> None:
    tokenizer = {
        "added_tokens": [{"id": 0, "content": "<pad>", "special": True}, {"id": 1, "content": "</s>", "special": True}, {"id": 2, "content": "<unk>", "special": True}],
        "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAEC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "add_prefix_space": True}]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}], "pair": []},
        "model": {"type": "Unigram", "unk_id": 2, "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0], ["▁a", -1.5]]},
    }
    found = values(write(tmp_path, tokenizer__json=tokenizer, tokenizer_config__json={"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}))
    assert found["tokenizer.ggml.model"] == "t5"
    assert found["tokenizer.ggml.token_type"] == [3, 3, 2, 1]
    assert found["tokenizer.ggml.scores"] == [0.0, 0.0, 0.0, -1.5]
    assert found["tokenizer.ggml.precompiled_charsmap"] == [0, 1, 2]
    assert (found["tokenizer.ggml.remove_extra_whitespaces"], found["tokenizer.ggml.add_space_prefix"], found["tokenizer.ggml.add_eos_token"]) == (True, True, True)
    alone = tmp_path / "alone"
    alone.mkdir()
    found = values(write(alone, spiece__model=proto(PIECES, kind=1, squeeze=1, charsmap=b"\0\1")))
    assert (found["tokenizer.ggml.model"], found["tokenizer.ggml.precompiled_charsmap"]) == ("t5", [0, 1])


def test_wordpiece_with_a_vocab_txt_alone(tmp_path: Path) -> None:
    write(tmp_path, vocab__txt="[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n##s\n", tokenizer_config__json={"do_lower_case": False})
    found = values(tmp_path)
    assert found["tokenizer.ggml.tokens"] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "▁hello", "s"]
    assert found["tokenizer.ggml.token_type"] == [3, 3, 3, 3, 3, 1, 1]
    assert found["tokenizer.ggml.normalizer.lowercase"] is False
    assert tokenizer_from(found).encode("hellos Hello") == [2, 5, 6, 1, 3]


def test_what_stands_around_a_text(tmp_path: Path) -> None:
    def part(text):
        return {"SpecialToken": {"id": text}} if len(text) > 1 else {"Sequence": {"id": text}}

    def adds(single, pair, config):
        processor = {"type": "TemplateProcessing", "single": [*map(part, single)], "pair": [*map(part, pair)]}
        write(tmp_path, tokenizer__json=byte_level(post_processor=processor), tokenizer_config__json=config)
        found = values(tmp_path)
        return {name: found[f"tokenizer.ggml.add_{name}_token"] for name in ("bos", "eos", "sep") if f"tokenizer.ggml.add_{name}_token" in found}

    end = "<|endoftext|>"
    assert adds([end, "A"], [end, "A", end, "B"], {"bos_token": end}) == {"bos": True, "sep": False}
    assert adds([end, "A"], [], {}) == {"bos": True}
    assert adds([end, "<tool▁call>", "A"], [], {}) == {"bos": False}
    assert adds(["A", end], [], {"eos_token": end}) == {"eos": True}
    assert adds([end, "A"], [], {"bos_token": end, "add_bos_token": False}) == {"bos": False}
    assert adds(["A"], ["A", end, "B"], {"eos_token": end}) == {"sep": True}
    adds(["A", end], [], {"eos_token": "<tool call>"})
    assert [values(tmp_path)[f"tokenizer.ggml.{name}_token_id"] for name in ("eos", "eot")] == [265, 266]


def test_ends_that_nobody_would_know(tmp_path: Path) -> None:
    write(tmp_path, tokenizer__json=byte_level(), tokenizer_config__json={"eos_token": "<|endoftext|>"}, generation_config__json={"eos_token_id": [265, 266, 9999, "x"]})
    assert values(tmp_path)["tokenizer.ggml.eot_token_id"] == 266


def test_named_templates(tmp_path: Path) -> None:
    write(tmp_path, tokenizer__json=byte_level(), tokenizer_config__json={"chat_template": [{"name": "default", "template": "a"}, {"name": "tool use", "template": "b"}]})
    found = {key: value for key, value in values(tmp_path).items() if "chat" in key}
    assert found == {"tokenizer.chat_template": "a", "tokenizer.chat_template.tool_use": "b", "tokenizer.chat_templates": ["tool_use"]}
    (tmp_path / "additional_chat_templates").mkdir()
    write(tmp_path / "additional_chat_templates", rag__jinja="d")
    found = {key: value for key, value in values(write(tmp_path, chat_template__jinja="c")).items() if "chat" in key}
    assert found == {"tokenizer.chat_template": "c", "tokenizer.chat_template.rag": "d", "tokenizer.chat_templates": ["rag"]}
    (tmp_path / "chat_template.jinja").unlink()
    assert values(write(tmp_path, chat_template__json={"chat_template": "e"}))["tokenizer.chat_template"] == "e"
    (tmp_path / "chat_template.json").unlink()
    with pytest.raises(TemplateError):
        values(write(tmp_path, tokenizer_config__json={"chat_template": [1]}))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has none"),
        ({"tekken__json": "{}"}, "tekken.json"),
        ({"tokenizer__json": "{"}, "is not JSON"),
        ({"tokenizer__json": "[]"}, "is not a JSON object"),
        ({"tokenizer__json": b"\xff"}, "is not UTF-8"),
        ({"tokenizer__json": '{"model": {"type": "\\ud800"}}'}, "is not JSON"),
        ({"tokenizer__json": '{"a":' * 5000 + "1" + "}" * 5000}, "is not JSON"),
        ({"tokenizer__json": {"model": {"type": "WordLevel"}}}, "unknown kind 'WordLevel'"),
        ({"tokenizer__json": byte_level(model={"type": "BPE", "vocab": {"a": -1}, "merges": []})}, "id -1"),
        ({"tokenizer__json": byte_level(model={"type": "BPE", "vocab": {"a": 1 << 60}, "merges": []})}, "cannot be used"),
        ({"tokenizer__json": byte_level(model={"type": "BPE", "vocab": {"a": True}, "merges": []})}, "id True"),
        ({"tokenizer__json": byte_level(model={"type": "BPE", "vocab": [], "merges": []})}, "no JSON object"),
        ({"tokenizer__json": byte_level(model={"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]})}, "merge 'a'"),
        ({"tokenizer__json": byte_level(model={"type": "BPE", "vocab": {"a": 0}, "merges": [[1, 2]]})}, "is not two tokens"),
        ({"tokenizer__json": byte_level(added_tokens=[{"id": 3, "content": "a"}])}, "'a' twice"),
        ({"tokenizer__json": byte_level(added_tokens=[3])}, "added token 3"),
        ({"tokenizer__json": byte_level(post_processor={"type": "TemplateProcessing", "single": [1]})}, "post_processor"),
        ({"tokenizer__json": byte_level(), "config__json": {"vocab_size": -3}}, "of -3 tokens"),
        ({"tokenizer__json": byte_level(pre_tokenizer={"type": "BertPreTokenizer"})}, "BertPreTokenizer"),
        ({"tokenizer__json": byte_level(pre_tokenizer={"type": "Split", "pattern": {"Regex": "h"}, "behavior": "Isolated"})}, r"--pre NAME .*Regex.*h"),
        ({"tokenizer__model": b"\x0a\xff\xff\xff\xff\x0f"}, "ends in the middle"),
        ({"tokenizer__model": b"\xff" * 40}, "70 bits"),
        ({"tokenizer__model": b""}, "holds no pieces"),
        ({"tokenizer__model": proto([("a", float("nan"), 1)])}, "without a score"),
        ({"tokenizer__model": proto([("a", 0.0, 9)])}, "unknown type"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, files, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        vocabulary(write(tmp_path, **files))


def test_a_wrong_name_for_pre(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="no name of a pre-tokenizer; known are default gpt-2"):
        vocabulary(tmp_path, pre="qwen99")
