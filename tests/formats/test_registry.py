from __future__ import annotations

import gguf
import pytest
from format_cases import FORMATS, every_format

from edgerun.errors import Unsupported
from edgerun.formats import Format, all_formats, by_id, by_name
from edgerun.gguf.types import TENSOR_TYPES, TensorType

MAIN = {"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"}
SMALL = {"MXFP4", "NVFP4", "TQ1_0", "TQ2_0", "Q1_0", "Q2_0"}
CODEBOOKS = {"IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_S", "IQ1_M"}


def test_the_folder_is_the_registry() -> None:
    assert {f.name for f in FORMATS} >= MAIN | SMALL | CODEBOOKS
    assert all(by_id(f.id) is f and by_name(f.name) is f for f in FORMATS)
    assert all_formats() is all_formats()


@every_format
def test_numbers_are_those_of_ggml(fmt: Format) -> None:
    assert TENSOR_TYPES[fmt.id] == TensorType(fmt.name, fmt.block, fmt.nbytes)
    if fmt.id in set(gguf.GGMLQuantizationType):
        kind = gguf.GGMLQuantizationType(fmt.id)
        assert kind.name == fmt.name
        assert gguf.GGML_QUANT_SIZES[kind] == (fmt.block, fmt.nbytes)
    assert fmt.row_bytes(4 * fmt.block) == 4 * fmt.nbytes


@every_format
def test_every_module_draws_its_layout(fmt: Format) -> None:
    module = __import__((fmt.encode or fmt.codes).__module__, fromlist=["__doc__"])
    assert module.FORMAT is fmt
    assert module.__doc__.startswith(f"{fmt.name}: ")
    assert "ggml" in module.__doc__


def test_unknown_types_are_named() -> None:
    with pytest.raises(Unsupported, match=r"type 9999 .*Q4_K"):
        by_id(9999)
    with pytest.raises(Unsupported, match=r"'Q9\\x1b'.*Q4_K") as caught:
        by_name("Q9\x1b")
    assert str(caught.value).isprintable()
