"""What `edgerun quantize --report` says at its end: what the new file lost. Knows no plan; the rest is in `quant.divergence`."""

from __future__ import annotations

from pathlib import Path

from edgerun.cli.lost import lines, side_by_side
from edgerun.cli.windows import read_text

_CONTEXT = 512   # tokens of the longest window
_WINDOWS = 16    # from all over the text


def text(file: str | None) -> str:
    """The text to judge by, or that for users who have none. UsageError when it cannot be read."""
    from quant.calibration import default_text

    return read_text(file) if file else default_text()


def report(base: Path, made: Path, text: str, threads: int | None, quiet: bool) -> str:
    """What `made` lost against `base`, as `edgerun compare` tells it."""
    from quant.calibration import spread

    found, count = side_by_side(
        str(made), str(base), _CONTEXT, lambda t: spread(t.encode(text), t.bos if t.add_bos else None, _WINDOWS), threads, quiet, "comparing, windows:"
    )
    return lines(found.divergence(), f"{count} windows")
