"""Whole vocabularies against recorded answers, where both are at hand: $EDGERUN_ORACLE/tokenizers has the answers of llama.cpp and,
where it differs, of the tokenizer that the model was trained with; $EDGERUN_TEST_MODELS the files, by the names in the answers."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from edgerun.gguf import open_gguf
from edgerun.text.tokenizer import Tokenizer, tokenizer_from

ANSWERS = Path(os.environ.get("EDGERUN_ORACLE", os.devnull)) / "tokenizers"
MODELS = Path(os.environ.get("EDGERUN_TEST_MODELS", Path.home() / ".cache" / "edgerun-test-models"))
FILES = {path.name: path for path in MODELS.glob("**/*.gguf")}
RECORDED = sorted(path for path in ANSWERS.glob("*.json.gz") if path.name.removesuffix(".json.gz") + ".gguf" in FILES)


def read(path: Path, strict: bool) -> tuple[dict[str, Any], Tokenizer]:
    with open_gguf(FILES[path.name.removesuffix(".json.gz") + ".gguf"]) as file:
        return json.loads(gzip.decompress(path.read_bytes())), tokenizer_from(file.metadata, strict)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_all_is_as_llama_cpp_has_it(path: Path) -> None:
    facts, tokenizer = read(path, strict=False)
    for case in facts["cases"]:
        assert tokenizer.encode(case["text"], case["add_special"], case["parse_special"]) == case["ids"], ascii(case["text"])
    for piece in facts["pieces"]:
        assert [tokenizer.piece(piece["id"], special).hex() for special in (True, False)] == [piece["hex_special"], piece["hex_plain"]]
    for case in facts["detokenize"]:
        assert tokenizer.decode(case["ids"], case["remove_special"], case["unparse_special"]) == bytes.fromhex(case["hex"]).decode("utf-8", "replace")
    vocabulary = facts["vocab"]
    assert (tokenizer.bos, tokenizer.eos, sorted(tokenizer.eog)) == (vocabulary["bos"], vocabulary["eos"], vocabulary["eog"])


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_strict_is_as_the_model_has_it(path: Path) -> None:
    """But for characters whose class is another in another version of Unicode; what was recorded for BERT knows Unicode 8."""
    facts, tokenizer = read(path, strict=True)
    old = facts["tokenizer_model"] == "bert"
    for case in facts["cases"]:
        if not (case["add_special"] or case["parse_special"] or case.get("unicode_version_sensitive") or (old and case["group"] == "random")):
            assert tokenizer.encode(case["text"], add_special=False) == case.get("ref_ids", case["ids"]), ascii(case["text"])
