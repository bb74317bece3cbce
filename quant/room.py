"""Whether the disk has room for a file that is to be written. Knows no model."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from edgerun.errors import ResourceError
from edgerun.gguf.file import shown


def require_room(out: Path, parts: Iterable[Path], nbytes: int) -> None:
    """ResourceError, which names `out`, unless `nbytes` fit beside it; what an earlier try left of the files at `parts` counts as room."""
    try:
        free = shutil.disk_usage(out.parent).free
    except OSError:
        return   # writing will say what is wrong
    for part in parts:
        left = part.with_name(part.name + ".part")
        free += left.stat().st_size if left.is_file() else 0
    if free < nbytes:
        raise ResourceError(f"{shown(str(out), 1000)}: {nbytes} bytes will be needed and {free} are free there; make room or name another place")
