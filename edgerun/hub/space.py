"""Whether a model fits, asked before its first byte is fetched. Knows nothing of where it comes from."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgerun import machine
from edgerun.errors import ResourceError
from edgerun.hub.names import shown

_RESERVE = 64 << 20   # bytes of disk left alone


def require_disk(folder: Path, size: int) -> None:
    """ResourceError unless `size` more bytes fit on the disk of `folder`, which need not exist yet."""
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    free = shutil.disk_usage(there).free
    if size + _RESERVE > free:
        raise ResourceError(
            f"not enough disk: {_text(size)} are needed in {shown(folder, 200)} and {_text(max(free - _RESERVE, 0))} are free; remove a model "
            "(edgerun list, edgerun rm), or set EDGERUN_HOME (HF_HOME for hub files) to a larger disk"
        )


def require_memory(name: str, size: int) -> None:
    """ResourceError when a model file of `size` bytes cannot be held in the memory that is free here."""
    memory = machine.memory()
    if size > memory.available:
        raise ResourceError(
            f"{shown(name)[1:-1]} needs more than {_text(size)} of memory and {_text(memory.available)} can be had here ({memory.reason}); "
            "choose a smaller model (edgerun list --all), or fetch it all the same with: edgerun pull --force"
        )


def _text(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
