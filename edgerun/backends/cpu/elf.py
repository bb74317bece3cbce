"""Which symbols an ELF object asks for (64-bit, little-endian; Linux, and LLVM's JIT on Windows). Knows nothing of what may be asked for.

Layout (System V ABI, chapter 4): header e_shoff at 40, e_shentsize at 58, e_shnum at 60; section header: type at 4, offset
at 24, size at 32, link at 40; symbol of 24 bytes: name u32 | info u8 | other u8 | section u16 | value u64 | size u64.
"""

from __future__ import annotations

import struct

MAGIC = b"\x7fELF"
_SYMBOLS = 2   # SHT_SYMTAB


def undefined_symbols(code: bytes) -> set[str]:
    """Names that the object needs from elsewhere; ValueError where it is no sound ELF, or has no table of symbols."""
    try:
        return _undefined_symbols(code)
    except (struct.error, IndexError, OverflowError) as error:
        raise ValueError(f"not a sound ELF object: {error}") from None


def _undefined_symbols(code: bytes) -> set[str]:
    if code[:6] != MAGIC + b"\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF object")
    start, size, count = struct.unpack_from("<Q", code, 40)[0], *struct.unpack_from("<HH", code, 58)
    sections = [(*struct.unpack_from("<I", code, at + 4), *struct.unpack_from("<QQI", code, at + 24)) for at in range(start, start + size * count, size)]
    tables = [section for section in sections if section[0] == _SYMBOLS]
    if not tables:
        raise ValueError("an ELF object without a table of symbols")   # as when sections are counted elsewhere, beyond 65,279
    names = set()
    for _, offset, length, link in tables:
        strings = sections[link][1]
        for at in range(offset, offset + length, 24):
            name, _, _, section = struct.unpack_from("<IBBH", code, at)
            if section == 0 and name:
                begin = strings + name
                names.add(code[begin : code.index(b"\0", begin)].decode())
    return names
