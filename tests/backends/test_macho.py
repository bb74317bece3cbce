"""Objects of macOS, assembled on any machine."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from objects import assemble
from test_elf import CLEARS, PLAIN, SYSTEM, WEAK

from edgerun.backends.cpu import macho, objectcode

TRIPLES = ("arm64-apple-macosx", "x86_64-apple-macosx")
COMMON = "@room = common global i64 0\ndefine i64 @own() {\n %x = load i64, ptr @room\n ret i64 %x\n}\n"
COMMANDS, SYMTAB = 16, 2


@pytest.mark.parametrize("triple", TRIPLES)
@pytest.mark.parametrize(
    ("source", "symbols", "harmless"),
    [(PLAIN, set(), True), (COMMON, set(), True), (CLEARS, {"bzero", "memset"}, True), (SYSTEM, {"system"}, False), (WEAK, {"maybe"}, False)],
    ids=["nothing", "room of its own", "memset", "system", "weak"],
)
def test_what_an_object_asks_for(source: str, symbols: set[str], harmless: bool, triple: str) -> None:
    code = assemble(source, triple)
    found = macho.undefined_symbols(code)
    assert found <= symbols
    assert bool(found) == bool(symbols)
    assert objectcode.harmless(code) is harmless


def command(code: bytes, kind: int) -> int:
    """Where a load command begins."""
    at = 32
    while struct.unpack_from("<I", code, at)[0] != kind:
        at += struct.unpack_from("<I", code, at + 4)[0]
    return at


def patched(code: bytes, at: int, value: int) -> bytes:
    return code[:at] + struct.pack("<I", value) + code[at + 4 :]


def test_an_object_may_not_hide_its_symbols() -> None:
    code = assemble(SYSTEM, TRIPLES[0])
    symtab = command(code, SYMTAB)
    for at, value in ((COMMANDS, 0), (symtab, 0x1B), (symtab + 4, 0), (12, 2), (symtab + 8, 1 << 31), (symtab + 12, 1 << 31), (symtab + 16, (1 << 32) - 1)):
        assert not objectcode.harmless(patched(code, at, value)), at


@pytest.mark.parametrize("code", [b"", macho.MAGIC, macho.MAGIC + bytes(28), macho.MAGIC + bytes(8) + b"\1" + bytes(19)])
def test_what_is_no_object_is_refused(code: bytes) -> None:
    assert not objectcode.harmless(code)
    with pytest.raises(ValueError):
        macho.undefined_symbols(code)


_EVIL = assemble(SYSTEM, TRIPLES[0])


@given(st.integers(0, len(_EVIL) - 1), st.binary(min_size=1, max_size=8))
def test_damage_raises_nothing(at: int, noise: bytes) -> None:
    objectcode.harmless(_EVIL[:at] + noise + _EVIL[at + len(noise) :])
    objectcode.harmless(_EVIL[:at])
