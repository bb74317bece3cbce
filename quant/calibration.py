"""The text over which a model is measured before it is made smaller: most of it to decide by, the rest to judge the result. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgerun.errors import UsageError
from quant.windows import Window, windows

_SIZE = 512      # tokens of a window,
_SMALLEST = 64   # of a short text
_MOST = 28       # windows that are used
_HELD = 7        # of so many windows the last one is held out


@dataclass(frozen=True)
class Calibration:
    """Windows to decide by, and others of the same text, from all over it, to judge by."""

    used: list[Window]
    held: list[Window]

    @classmethod
    def of(cls, ids: Sequence[int], bos: int | None) -> Calibration:
        """Of a text. UsageError when it is too short."""
        found = spread(ids, bos, _MOST)
        held = found[_HELD - 1 :: _HELD] or found[-1:]
        return cls([window for window in found if window not in held], held)

    @property
    def ids(self) -> list[int]:
        """The tokens to decide by, one after another."""
        return [token for window in self.used for token in window.tokens]


def spread(ids: Sequence[int], bos: int | None, most: int) -> list[Window]:
    """At most so many windows from all over a text, shorter ones of a short text. UsageError when it is too short."""
    size = _SIZE
    while size > _SMALLEST and len(ids) < 2 * _HELD * size:
        size //= 2
    found = windows(ids, size, bos=bos)
    return [found[i] for i in sorted({round(i * (len(found) - 1) / max(1, most - 1)) for i in range(most)})]


def default_text() -> str:
    """Python's own reference, prose with code in it, where the user has no text of the kind that the model will see.

    UsageError where this Python has none.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:   # some distributions leave it out
        raise UsageError("this Python comes without its reference, the text that is measured with by default; give another with -f") from None

    return "\n\n".join(topics[name] for name in sorted(topics))
