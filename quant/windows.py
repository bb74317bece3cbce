"""A text cut into the windows over which predictions are judged, as llama.cpp's perplexity tool cuts it, so that figures compare.

Knows token ids, no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgerun.errors import UsageError


@dataclass(frozen=True)
class Window:
    """Tokens evaluated by themselves; what is predicted at positions first to len(tokens) - 2, of the token behind each, counts."""

    tokens: list[int]
    first: int

    @property
    def targets(self) -> list[int]:
        """The tokens to be predicted."""
        return self.tokens[self.first + 1 :]


def windows(ids: Sequence[int], size: int, stride: int = 0, bos: int | None = None, most: int | None = None) -> list[Window]:
    """The windows of a text, at most `most`.

    Without stride, `size` tokens after `size` tokens, the second half of each judged, and BOS, where there is one, in place of
    the first. With a stride a window of size + stride / 2 begins every `stride` tokens, and its last `stride` predictions are judged.
    UsageError when the text is too short.
    """
    if size < 4 or stride < 0 or stride >= size:
        raise UsageError(f"windows of {size} tokens with a stride of {stride} make no sense; use -c 512, and a stride below it")
    size += stride // 2
    if len(ids) < 2 * size:
        raise UsageError(f"the text has {len(ids)} tokens, windows of {size} need {2 * size}; give a longer text, or a smaller -c")
    if stride:
        starts = range(0, len(ids) - size, stride)
        found = [Window(list(ids[at : at + size]), size - stride - 1) for at in starts]
    else:
        starts = range(0, len(ids) - size + 1, size)
        found = [Window([ids[at] if bos is None else bos, *ids[at + 1 : at + size]], size // 2) for at in starts]
    return found[:most]
