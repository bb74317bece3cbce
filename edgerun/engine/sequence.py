"""One sequence: its tokens, how many of them are in memory, and in which pages. Knows no executor."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgerun.backends.executor import PAGE
from edgerun.engine.kvcache import PagePool, pages_for


@dataclass
class Sequence:
    """tokens[:done] are in memory, the rest waits to be evaluated; position p lives in page pages[p // PAGE].

    Logits are asked for from position `wanted` on. A step ends at position `pause`, where it does not begin behind it.
    era: how many of the executor's horizons the sequence was beyond when what is in memory was evaluated: beyond another one, it has to
    be evaluated anew.
    """

    tokens: list[int] = field(default_factory=list)
    wanted: int = 0
    done: int = 0
    pages: list[int] = field(default_factory=list)
    pause: int = 0
    era: int = 0

    @property
    def pending(self) -> int:
        """Tokens that wait to be evaluated."""
        return len(self.tokens) - self.done

    def grow(self, pool: PagePool, length: int) -> None:
        """Hold the pages of positions done:length, ready to be written. ResourceError when the pool has none left."""
        while len(self.pages) < pages_for(length):
            self.pages.append(pool.acquire())
        assert all(pool.references[page] == 1 for page in self.pages[self.done // PAGE :]), "a shared page is never written"

    def enter(self, era: int) -> bool:
        """Be in that era; whether it is another one: what was evaluated then counts no longer, and only the last logits are wanted."""
        if era == self.era:
            return False
        self.era, self.done, self.wanted = era, 0, len(self.tokens) - 1
        return True

    def cut(self, pool: PagePool, length: int) -> None:
        """Forget everything from position `length` on and give its pages back."""
        self.done = min(self.done, length)
        del self.tokens[length:]
        while len(self.pages) > pages_for(self.done):
            pool.release(self.pages.pop())
