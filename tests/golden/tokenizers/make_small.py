"""Writes small.json.gz: ids that llama.cpp gives with the small vocabularies of tests/text/vocabularies.py.

Run it from the top of the repository with llama-cpp-python installed: PYTHONPATH=.:tests/text python tests/golden/tokenizers/make_small.py
"""

from __future__ import annotations

import ctypes
import gzip
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import llama_cpp
from vocabularies import CONTROL, GEMMA4, USER_DEFINED, bpe, spm, unigram, wordpiece

from edgerun.gguf import GGUFWriter

VOCABULARIES = {
    "wordpiece": wordpiece(bos_token_id=2),
    "wordpiece cased": wordpiece(("▁É", "▁é", "e", "▁e", "▁E", "▁a", "▁!", "▁世"), bos_token_id=2, **{"normalizer.lowercase": False}),
    "unigram": unigram(),
    "unigram spaces": unigram(remove_extra_whitespaces=False, specials={"<mask>": CONTROL, "fia": USER_DEFINED}),
    "unigram bare": unigram(rules={}, add_space_prefix=False, remove_extra_whitespaces=False, add_eos_token=False),
    "spm": spm(specials={"<tool>": USER_DEFINED, "<end>": CONTROL}),
    "gemma4": bpe(**GEMMA4),
    "bpe": bpe(),
    "bpe llama": bpe(pre="llama-bpe", bos_token_id=0),
}
KINDS = {"token_type": "i32", "scores": "f32", "precompiled_charsmap": "u8"}
PARTS = (
    *("a", "b", "c", "ab", "abc", "hello", " world", " ", "  ", "\n", "\t", "é", "e\u0301", "É", "ﬁ", "世", "界", "한", "\u2581", "\u200b", "\u3000"),
    *("!", "the ", "unaffable", "12", "\ufffd", "\x0b", "🙂", "<tool>", "<end>", "<mask>", "[MASK]", "<|end|>", "<|start|>", "\u0301", "\x85", "aa"),
)


def main() -> None:
    """Write the file beside this one."""
    chosen = random.Random(0)
    texts = ["".join(chosen.choices(PARTS, k=chosen.randint(1, 8))) for _ in range(120)]
    llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))
    facts = {"texts": texts, "ids": {name: _ids(metadata, texts) for name, metadata in VOCABULARIES.items()}}
    text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
    Path(__file__).with_name("small.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


@llama_cpp.llama_log_callback
def _silent(*arguments: Any) -> None:
    pass


def _ids(metadata: dict[str, Any], texts: list[str]) -> list[list[list[int]]]:
    """For each text the ids of the text alone, and those with special tokens added and parsed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocabulary.gguf"
        with GGUFWriter(path) as writer:
            writer.add("general.architecture", "llama")
            for key, value in metadata.items():
                writer.add(key, value, KINDS.get(key.rpartition(".")[2], "u32" if key.endswith("_id") else None))
        parameters = llama_cpp.llama_model_default_params()
        parameters.vocab_only = True
        model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
        vocabulary = llama_cpp.llama_model_get_vocab(model)
        return [[_encode(vocabulary, text.encode(), special) for special in (False, True)] for text in texts]


def _encode(vocabulary: Any, text: bytes, special: bool) -> list[int]:
    room = (llama_cpp.llama_token * (len(text) + 8))()
    return list(room[: llama_cpp.llama_tokenize(vocabulary, text, len(text), room, len(room), special, special)])


if __name__ == "__main__":
    main()
