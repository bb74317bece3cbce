"""What every way to a model file has in common. Knows none of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from edgerun.dataclass import dataclass
from edgerun.hub.names import shown


@dataclass(frozen=True)
class Wish:
    """What the caller of a fetch wants: to hear how far it is and what goes differently; `force`: memory does not matter."""

    progress: Callable[[int, int | None, str], None] = lambda done, total, label: None
    note: Callable[[str], None] = lambda text: None
    force: bool = False

    def waiting_for(self, name: str) -> Callable[[], None]:
        """Says that another process is fetching `name`."""
        return lambda: self.note(f"another process is fetching {shown(name)[1:-1]}; waiting for it")

    def progress_of(self, name: str) -> Callable[[int, int | None], None]:
        """`progress` for one file."""
        return lambda done, total: self.progress(done, total, name)


class Source(Protocol):
    """One way to a model file."""

    label: str

    def present(self) -> Path | None:
        """Where the file is on this machine, without any network; None if it is not."""
        ...

    def probe(self) -> None:
        """SourceError if the source cannot give the file, as far as a look of at most two seconds tells."""
        ...

    def fetch(self, wish: Wish) -> Path:
        """Get the file and return where it is. SourceError, or ResourceError before the first byte."""
        ...
