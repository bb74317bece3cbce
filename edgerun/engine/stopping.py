"""Ends a text at the first stop string, wherever the pieces of the text are cut. Knows no tokens."""

from __future__ import annotations

from collections.abc import Iterable

from edgerun.errors import UsageError


class StopStrings:
    """Lets text through as soon as it cannot be part of a stop string.

    The text ends where, read character by character, a stop string is complete for the first time; the stop string (the
    longest, if several are complete there) is no part of it. UsageError for an empty stop string.
    """

    def __init__(self, stops: Iterable[str] = ()) -> None:
        self.stops = tuple(dict.fromkeys(stops))
        if "" in self.stops:
            raise UsageError("--stop: an empty string would end every answer at once; leave it out")
        self._held = ""   # may be the beginning of a stop string
        self._stopped = False

    def feed(self, piece: str) -> tuple[str, bool]:
        """(text that is certain now, whether a stop string has come). After a stop nothing more comes out."""
        if self._stopped:
            return "", True
        text = self._held + piece
        found = [(start + len(stop), start) for stop in self.stops if (start := text.find(stop)) >= 0]
        if found:
            self._stopped, self._held = True, ""
            return text[: min(found)[1]], True
        sure = len(text) - max((_overlap(text, stop) for stop in self.stops), default=0)
        self._held = text[sure:]
        return text[:sure], False

    def flush(self) -> str:
        """What was held back, at the end of the text."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`."""
    at = max(0, len(text) - len(stop) + 1)
    while (at := text.find(stop[0], at)) >= 0:   # only where the first character stands can it begin
        if stop.startswith(text[at:]):
            return len(text) - at
        at += 1
    return 0
