"""Small vocabularies of every kind against llama.cpp's recorded answers."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from edgerun.text.tokenizer import tokenizer_from

FOLDER = Path(__file__).parent.parent / "golden" / "tokenizers"
GOLDEN = json.loads(gzip.decompress((FOLDER / "small.json.gz").read_bytes()))


def vocabularies() -> dict[str, dict[str, Any]]:
    """Those of the script that made the file, which imports llama.cpp."""
    place = importlib.util.spec_from_file_location("make_small", FOLDER / "make_small.py")
    assert place is not None
    assert place.loader is not None
    module = importlib.util.module_from_spec(place)
    with mock.patch.dict(sys.modules, llama_cpp=SimpleNamespace(llama_log_callback=lambda function: function)):
        place.loader.exec_module(module)
    found: dict[str, dict[str, Any]] = module.VOCABULARIES
    return found


@pytest.mark.parametrize(("name", "metadata"), vocabularies().items())
def test_ids_are_those_of_llama_cpp(name: str, metadata: dict[str, Any]) -> None:
    tokenizer = tokenizer_from(metadata)
    for text, expected in zip(GOLDEN["texts"], GOLDEN["ids"][name], strict=True):
        assert [tokenizer.encode(text, special, special) for special in (False, True)] == expected, ascii(text)
