"""Pages of key/value memory: who holds which. Knows page numbers only; the bytes belong to the backend."""

from __future__ import annotations

from collections.abc import Iterable

from edgerun.backends.executor import PAGE
from edgerun.errors import ResourceError


def pages_for(positions: int) -> int:
    """Pages that hold that many positions."""
    return -(-positions // PAGE)


class PagePool:
    """The pages of one executor with their reference counts. A page that several sequences share is never written."""

    def __init__(self, pages: int) -> None:
        self.references = [0] * pages
        self.free = list(range(pages - 1, -1, -1))   # a stack: the lowest page is taken first

    def acquire(self) -> int:
        """Take a page nobody holds. ResourceError when there is none."""
        if not self.free:
            raise ResourceError(f"all {len(self.references) * PAGE} positions of key/value memory are in use; use a larger context (-c)")
        page = self.free.pop()
        assert self.references[page] == 0, page
        self.references[page] = 1
        return page

    def share(self, page: int) -> int:
        """Hold a page that somebody already holds."""
        assert self.references[page] > 0, page
        self.references[page] += 1
        return page

    def release(self, page: int) -> None:
        """Let go of a page; the last holder frees it."""
        assert self.references[page] > 0, page
        self.references[page] -= 1
        if self.references[page] == 0:
            self.free.append(page)

    def recount(self, tables: Iterable[Iterable[int]]) -> None:
        """Make the counts what the page tables of all sequences say.

        A Ctrl-C between taking a page and writing it down would lose the page; the tables are the truth.
        """
        references = [0] * len(self.references)
        for table in tables:
            for page in table:
                references[page] += 1
        self.references = references
        self.free = [page for page in range(len(references) - 1, -1, -1) if not references[page]]
