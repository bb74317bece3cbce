"""What object code may ask for before it is linked into this process. Knows no format beyond its first four bytes."""

from __future__ import annotations

from edgerun.backends.cpu import elf, macho

ALLOWED = frozenset({"memset", "memcpy", "memmove", "bzero", "_GLOBAL_OFFSET_TABLE_"})


def undefined_symbols(code: bytes) -> set[str]:
    """Names that an ELF or Mach-O object needs from elsewhere; ValueError where it is neither, or not sound."""
    return (macho if code[:4] == macho.MAGIC else elf).undefined_symbols(code)


def harmless(code: bytes) -> bool:
    """Whether an object may be linked: it calls nothing but memory functions."""
    try:
        return undefined_symbols(code) <= ALLOWED
    except ValueError:
        return False
