from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from objects import assemble

from edgerun.backends.cpu import elf, objectcode

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="objects are ELF on Linux only")

PLAIN = "define i64 @plain(i64 %x) {\n ret i64 %x\n}\n"
CLEARS = "declare i64 @memset(i64, i32, i64)\ndefine i64 @clears(i64 %p, i64 %n) {\n %q = call i64 @memset(i64 %p, i32 0, i64 %n)\n ret i64 %q\n}\n"
SYSTEM = "declare i32 @system(i64)\ndefine i32 @evil(i64 %p) {\n %x = call i32 @system(i64 %p)\n ret i32 %x\n}\n"
WEAK = "declare extern_weak i32 @maybe()\ndefine i32 @weak() {\n %x = call i32 @maybe()\n ret i32 %x\n}\n"
SECTIONS, SECTION_SIZE, SECTION_COUNT = 40, 58, 60   # offsets in the header


def patched(code: bytes, at: int, fmt: str, value: int) -> bytes:
    return code[:at] + struct.pack(fmt, value) + code[at + struct.calcsize(fmt) :]


@pytest.mark.parametrize(
    ("source", "symbols", "harmless"),
    [(PLAIN, set(), True), (CLEARS, {"memset"}, True), (SYSTEM, {"system"}, False), (WEAK, {"maybe"}, False), (PLAIN + SYSTEM, {"system"}, False)],
    ids=["nothing", "memset", "system", "weak", "both"],
)
def test_what_an_object_asks_for(source: str, symbols: set[str], harmless: bool) -> None:
    code = assemble(source)
    assert elf.undefined_symbols(code) - {"_GLOBAL_OFFSET_TABLE_"} == symbols
    assert objectcode.harmless(code) is harmless


def symbol_table(code: bytes) -> int:
    """Where the header of the section that holds the symbols lies."""
    start, size, count = struct.unpack_from("<Q", code, SECTIONS)[0], *struct.unpack_from("<HH", code, SECTION_SIZE)
    return next(start + size * i for i in range(count) if struct.unpack_from("<I", code, start + size * i + 4)[0] == 2)


def test_an_object_may_not_hide_its_symbols() -> None:
    code = assemble(SYSTEM)
    assert not objectcode.harmless(patched(code, SECTION_COUNT, "<H", 0))   # counted in the first section header instead
    assert not objectcode.harmless(patched(code, symbol_table(code) + 4, "<I", 7))   # a table of symbols called a note


@pytest.mark.parametrize("value", [1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_offsets_that_lead_nowhere_are_refused(value: int) -> None:
    code = assemble(CLEARS)
    for at in (SECTIONS, symbol_table(code) + 24, symbol_table(code) + 32):   # the sections, the symbols, their length
        assert not objectcode.harmless(patched(code, at, "<Q", value)), at


def test_numbers_out_of_range_are_refused() -> None:
    code = assemble(CLEARS)
    for size in (0, 1, 63, 65535):
        assert not objectcode.harmless(patched(code, SECTION_SIZE, "<H", size)), size
    assert not objectcode.harmless(patched(code, symbol_table(code) + 40, "<I", 65535))   # the section of their names


@pytest.mark.parametrize("code", [b"", b"MZ\x90\0", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(60), b"\x7fELF\x02\x02" + bytes(60), b"\x7fELF\x02\x01" + bytes(58)])
def test_what_is_no_object_is_refused(code: bytes) -> None:
    assert not objectcode.harmless(code)
    with pytest.raises(ValueError):
        elf.undefined_symbols(code)


_EVIL = assemble(SYSTEM) if sys.platform.startswith("linux") else b""


@given(st.integers(0, max(0, len(_EVIL) - 1)), st.binary(min_size=1, max_size=8))
def test_damage_raises_nothing(at: int, noise: bytes) -> None:
    objectcode.harmless(_EVIL[:at] + noise + _EVIL[at + len(noise) :])
    objectcode.harmless(_EVIL[:at])
