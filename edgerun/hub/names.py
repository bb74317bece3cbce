"""Names that come from outside: made safe as paths, and safe to print. Knows no source and touches no disk.

A file name from a hub, a URL or an archive is hostile until it has passed `safe_path`.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from edgerun.errors import SourceError

_RESERVED = '<>:"|?*\\'
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)   # devices on Windows, whatever the extension
_LONGEST_PART, _LONGEST_PATH = 200, 1000


def shown(text: object, limit: int = 80) -> str:
    """`text` quoted for a one-line message: ASCII only, control characters escaped, at most `limit` characters."""
    quoted = ascii(str(text))
    return quoted if len(quoted) <= limit else quoted[: limit - 4] + "...'"


def is_plain(part: str) -> bool:
    """Whether `part` can be the name of one file or folder on every system, with no meaning beyond itself."""
    return (
        0 < len(part.encode("utf-8", "replace")) <= _LONGEST_PART
        and part.isprintable()
        and not any(c in _RESERVED or c == "/" for c in part)
        and part not in (".", "..")
        and part == part.strip(" ").rstrip(".")
        and not part.startswith("~")
        and not _DEVICE.fullmatch(part)
    )


def safe_path(name: str, where: str) -> PurePosixPath:
    """`name` as a relative path that stays inside the folder it is joined to. SourceError, naming `where`, if it would not."""
    if not name or len(name) > _LONGEST_PATH or not all(is_plain(part) for part in name.split("/")):
        raise SourceError(f"{where} names a file {shown(name)}, which is not a safe file name; it was not fetched")
    return PurePosixPath(name)


def slug(text: str) -> str:
    """A folder name made of `text`: its letters, digits, dots and dashes, at most 60 of them."""
    kept = re.sub(r"[^a-z0-9.-]+", "-", text.lower()).strip(".-")[:60]
    return f"x-{kept}" if _DEVICE.fullmatch(kept) or not kept else kept
