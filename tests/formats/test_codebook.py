"""The codebooks, against those of the gguf package."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from format_cases import every_codebook, rows_of

from edgerun.formats import Format, codebooks
from edgerun.formats.codebook import Codebook, even_signs

BOOKS = {name: book for name, book in vars(codebooks).items() if isinstance(book, Codebook)}


@pytest.mark.parametrize("name", BOOKS)
def test_equal_to_the_gguf_package(name: str) -> None:
    theirs = gguf.quants._type_traits[gguf.GGMLQuantizationType[name]]
    theirs.init_grid()
    book = BOOKS[name]
    assert np.array_equal(np.array(book.values)[book.digits], theirs.grid.reshape(theirs.grid_shape))


def test_each_is_there_once() -> None:
    assert set(BOOKS) == {"IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S"}
    assert all(book.digits is book.digits for book in BOOKS.values())


def test_an_even_number_of_signs() -> None:
    theirs = np.frombuffer(gguf.quants.IQ2_XXS.ksigns, np.uint8)
    low, high = np.divmod(np.arange(1 << 14), 128)[::-1]
    assert np.array_equal(even_signs(np.arange(1 << 14))[0], theirs[low] | theirs[high].astype(np.uint16) << 8)


@every_codebook
def test_codes_stay_in_the_table(fmt: Format) -> None:
    codes = fmt.parts(rows_of(fmt, 16, 4)).codes
    assert fmt.packing.table
    assert np.abs(np.array(fmt.packing.table)[codes]).min() > 0, "no weight is zero"
