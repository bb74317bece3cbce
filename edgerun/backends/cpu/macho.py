"""Which symbols a Mach-O object asks for (64-bit, little-endian; macOS). Knows nothing of what may be asked for.

Layout (mach-o/loader.h, mach-o/nlist.h): header of 32 bytes, file type at 12, number of load commands at 16; a command is type
u32 | size u32 | ..., LC_SYMTAB has symbols' offset at 8, their number at 12, strings' offset at 16; symbol of 16 bytes: name u32 |
type u8 | section u8 | description u16 | value u64.
"""

from __future__ import annotations

import struct

MAGIC = b"\xcf\xfa\xed\xfe"
_OBJECT, _SYMTAB = 1, 2
_DEBUG, _KIND = 0xE0, 0x0E   # bits of a symbol's type
_UNDEFINED, _DEFINED = 0, (0x2, 0xE)   # at an absolute address, or in a section


def undefined_symbols(code: bytes) -> set[str]:
    """Names that the object needs from elsewhere, as C writes them; ValueError where it is no sound Mach-O, or has no symbols."""
    try:
        return {name.removeprefix("_") for name in _undefined_symbols(code)}
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"not a sound Mach-O object: {error}") from None


def _undefined_symbols(code: bytes) -> set[str]:
    if code[:4] != MAGIC or struct.unpack_from("<I", code, 12)[0] != _OBJECT:
        raise ValueError("not a 64-bit little-endian Mach-O object")
    tables, at = [], 32
    for _ in range(struct.unpack_from("<I", code, 16)[0]):
        kind, size = struct.unpack_from("<II", code, at)
        if kind == _SYMTAB:
            tables.append(struct.unpack_from("<III", code, at + 8))
        if size < 8:
            raise ValueError("a load command that is shorter than its head")
        at += size
    if len(tables) != 1:
        raise ValueError(f"a Mach-O object with {len(tables)} tables of symbols")
    offset, count, strings = tables[0]
    names = set()
    for entry in range(offset, offset + 16 * count, 16):
        name, kind, _, _, value = struct.unpack_from("<IBBHQ", code, entry)
        common = kind & _KIND == _UNDEFINED and value   # the value is then the size of what the linker makes
        if not kind & _DEBUG and kind & _KIND not in _DEFINED and not common:
            begin = strings + name
            names.add(code[begin : code.index(b"\0", begin)].decode())
    return names
