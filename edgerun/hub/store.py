"""What is on this machine: edgerun's own folder of models and the hub's cache, listed and removed. Knows no network.

    models/PACKAGE-VERSION/FILE.gguf         from the package index
    models/HOST-HASH/FILE.gguf, source.json  from an address; HASH is of the address
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgerun import config
from edgerun.dataclass import dataclass
from edgerun.errors import ResourceError
from edgerun.hub.catalogue import Catalogue, HubFile
from edgerun.hub.hubcache import HubCache
from edgerun.hub.lock import Lock
from edgerun.hub.names import safe_path, shown, slug
from edgerun.hub.quants import is_later_part, split_names

_ADDRESS_FILE = "source.json"


@dataclass(frozen=True)
class Installed:
    """One model on this machine. `ref` fetches it again, `size` in bytes counts all parts, `place` says whose folder it is in."""

    ref: str
    path: Path
    size: int
    place: str
    hub: tuple[str, str] | None = None   # repository and file


class Store:
    """The models of this machine; `root` is where those live that do not come from the hub."""

    def __init__(self, root: Path | None = None, cache: HubCache | None = None) -> None:
        self.root = root or config.models_folder()
        self._cache = cache or HubCache()

    def index_path(self, package: str, version: str, member: str) -> Path:
        """Where a file of the package index lives."""
        return self.root / slug(f"{package}-{version}") / safe_path(member.rsplit("/", 1)[-1], package)

    def url_path(self, url: str, name: str) -> Path:
        """Where file `name` of an address lives; `name` is safe already."""
        import hashlib
        from urllib.parse import urlsplit

        digest = hashlib.sha256(url.encode()).hexdigest()[:12]
        return self.root / f"{slug(urlsplit(url).hostname or '')}-{digest}" / name

    def lock_file(self, target: Path) -> Path:
        """What to hold while writing `target`."""
        return self.root / ".locks" / f"{target.parent.name}.lock"

    def remember(self, target: Path, url: str) -> None:
        """Keep the address of `target` for `installed`."""
        import json

        (target.parent / _ADDRESS_FILE).write_text(json.dumps({"url": url}), encoding="utf-8")

    def installed(self) -> list[Installed]:
        """Every model here, by name."""
        return sorted([*self._own(), *self._hub()], key=lambda m: m.ref)

    def remove(self, model: Installed) -> int:
        """Remove it from the disk; content that other files of the hub's cache share stays. Returns the bytes freed.

        ResourceError when it is being fetched at this moment, or the folder does not let it go.
        """
        try:
            if model.hub:
                return self._cache.remove(*model.hub)
            return self._remove_folder(model)
        except OSError as error:
            raise ResourceError(f"{shown(model.path, 200)} cannot be removed ({error.strerror}); check the permissions") from error

    def _remove_folder(self, model: Installed) -> int:
        lock = Lock(self.lock_file(model.path))
        if not lock.acquire():
            raise ResourceError(f"{shown(model.ref)} is being fetched by another process; end that first")
        try:
            freed = sum(p.stat().st_size for p in model.path.parent.rglob("*") if p.is_file())
            shutil.rmtree(model.path.parent)
        finally:
            lock.release()
        return freed

    def _own(self) -> Iterator[Installed]:
        names = self._index_names()
        for path in sorted(self.root.glob("*/*.gguf")):
            if not is_later_part(path.name):
                ref = names.get(path) or _address(path.parent) or str(path)
                yield Installed(ref, path, _size(path), "edgerun")

    def _hub(self) -> Iterator[Installed]:
        names = {(s.repo, s.file): e.name for e in Catalogue.load().entries.values() for s in e.sources if isinstance(s, HubFile)}
        for repo, file, path in self._cache.models():
            if not is_later_part(file):
                ref = names.get((repo, file)) or f"hf:{repo}:{file}"
                yield Installed(ref, path, _size(path), "hub cache", (repo, file))

    def _index_names(self) -> dict[Path, str]:
        return {
            self.index_path(s.package, s.version, s.member): e.name
            for e in Catalogue.load().entries.values()
            for s in e.sources
            if not isinstance(s, HubFile)
        }


def _address(folder: Path) -> str | None:
    """The address that `remember` wrote, None where that is missing or damaged."""
    import json

    try:
        url = json.loads((folder / _ADDRESS_FILE).read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url if isinstance(url, str) and url.isprintable() else None


def _size(first: Path) -> int:
    """Bytes of a file with all its parts."""
    names = split_names(first.name)
    return sum(os.stat(first.parent / name).st_size for name in names if (first.parent / name).is_file())
