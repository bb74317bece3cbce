"""Small files that backends keep from one run to the next: written whole or not at all. Knows nothing of what is in them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def keep(path: Path, content: bytes) -> None:
    """Put the content there, in place of what was there before. A folder that takes no files is no error: the next run makes it anew."""
    import tempfile  # hardly any run writes, and every start would pay

    with contextlib.suppress(OSError):
        fd, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.")
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
