"""The default model's tokenizer against llama.cpp's recorded answers."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path

import pytest

from edgerun.gguf import open_gguf
from edgerun.text.tokenizer import Tokenizer, tokenizer_from

pytestmark = pytest.mark.model
FOLDER = Path(__file__).parent.parent / "golden" / "tokenizers"
GOLDEN = json.loads(gzip.decompress((FOLDER / "SmolLM2-135M-Instruct.Q4_1.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> Tokenizer:
    with open_gguf(smollm2) as file:
        return tokenizer_from(file.metadata)


@pytest.mark.parametrize("group", sorted({case["group"] for case in GOLDEN["cases"]}))
def test_ids(tokenizer: Tokenizer, group: str) -> None:
    for case in GOLDEN["cases"]:
        if case["group"] == group:
            assert tokenizer.encode(case["text"], case["add_special"], case["parse_special"]) == case["ids"], ascii(case["text"])


def test_pieces(tokenizer: Tokenizer) -> None:
    for piece in GOLDEN["pieces"]:
        assert tokenizer.piece(piece["id"], special=True).hex() == piece["hex_special"]
        assert tokenizer.piece(piece["id"], special=False).hex() == piece["hex_plain"]


def test_detokenize(tokenizer: Tokenizer) -> None:
    for case in GOLDEN["detokenize"]:
        text = tokenizer.decode(case["ids"], case["remove_special"], case["unparse_special"])
        assert text == bytes.fromhex(case["hex"]).decode("utf-8", "replace")


def test_facts(tokenizer: Tokenizer) -> None:
    facts = GOLDEN["vocab"]
    assert tokenizer.n_vocab == facts["n_tokens"]
    assert (tokenizer.bos, tokenizer.eos, tokenizer.add_bos) == (facts["bos"], facts["eos"], facts["add_bos"])
    assert sorted(tokenizer.eog) == facts["eog"]


def test_a_megabyte_of_text_takes_two_seconds_at_most(tokenizer: Tokenizer) -> None:
    text = "".join(case["text"] for case in GOLDEN["cases"])
    text *= 1_000_000 // len(text.encode())
    began = time.process_time()
    assert len(tokenizer.encode(text)) > 100_000
    assert time.process_time() - began < 2
