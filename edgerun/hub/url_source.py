"""A model file behind an address, in edgerun's store. What speaks HTTP is imported only when something has to be fetched."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from edgerun.hub.lock import Lock
from edgerun.hub.names import is_plain
from edgerun.hub.quants import split_names
from edgerun.hub.source import Wish
from edgerun.hub.store import Store


class UrlSource:
    """The file at `url`, with all its parts if it is split."""

    label = "the address"

    def __init__(self, url: str) -> None:
        self._url, self._store = url, Store()
        self._last = url.split("?")[0].rsplit("/", 1)[-1]
        plain = unquote(self._last)
        name = plain if is_plain(plain) and plain.endswith(".gguf") else "model.gguf"
        self._targets = [self._store.url_path(url, part) for part in split_names(name)]

    def present(self) -> Path | None:
        """The first part, if all are there."""
        return self._targets[0] if all(path.is_file() for path in self._targets) else None

    def probe(self) -> None:
        """Nothing to look at: it is the only source of its model."""

    def fetch(self, wish: Wish) -> Path:
        """Every part; the address of the others is that of the first with another number."""
        for target in self._targets:
            with Lock(self._store.lock_file(target), wish.waiting_for(target.name)):
                if not target.is_file():
                    self._fetch_part(target, wish)
        self._store.remember(self._targets[0], self._url)
        return self._targets[0]

    def _fetch_part(self, target: Path, wish: Wish) -> None:
        from edgerun.hub.download import download
        from edgerun.hub.space import require_disk, require_memory

        def check(size: int, missing: int) -> None:
            if not wish.force:
                require_memory(target.name, size)
            require_disk(target.parent, missing)

        download(self._address(target), target, check=check, progress=wish.progress_of(target.name))

    def _address(self, target: Path) -> str:
        if len(self._targets) == 1:
            return self._url
        address, mark, query = self._url.partition("?")
        return address.removesuffix(self._last) + target.name + mark + query
