"""A model file of the Hugging Face hub, in the hub's own cache. What speaks HTTP is imported only when something has to be fetched."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edgerun.errors import EdgerunError, SourceError
from edgerun.hub.hubcache import HubCache
from edgerun.hub.lock import Lock
from edgerun.hub.names import shown
from edgerun.hub.quants import choose, split_names
from edgerun.hub.source import Wish

if TYPE_CHECKING:
    from edgerun.hub.huggingface import HuggingFace, RemoteFile

MAGIC = b"GGUF"   # of a model file
PROBE = 2.0   # seconds the hub has to answer when another source can take its place

_unreachable: dict[str, str] = {}   # endpoints that gave no answer to a probe of this process, and why


class HubSource:
    """A file of `repo`: the one named, or one chosen by quantization (see quants.py)."""

    label = "the hub"

    def __init__(self, repo: str, file: str | None, quant: str = "", sha256: str | None = None) -> None:
        self._repo, self._file, self._quant, self._sha256 = repo, file, quant, sha256
        self._cache = HubCache()
        self._remotes: list[RemoteFile] = []

    def present(self) -> Path | None:
        """The named file in the cache; without a name, the best one that is there."""
        if self._file:
            return self._cache.find(self._repo, self._file)
        names = self._cache.files(self._repo)
        try:
            return self._cache.find(self._repo, choose(names, self._quant, self._repo)) if names else None
        except SourceError:
            return None

    def probe(self) -> None:
        """One request about the file. A hub that gave no answer is not asked again by this process."""
        hub = the_hub()
        if hub.endpoint in _unreachable:
            raise SourceError(_unreachable[hub.endpoint])
        self._remotes = _in_time(lambda: self._describe(hub, patient=False), hub.endpoint)

    def fetch(self, wish: Wish) -> Path:
        """Every part of the file, each under the lock that the hub's library would hold."""
        from edgerun.hub.space import require_disk, require_memory

        hub = the_hub()
        remotes = self._remotes or self._describe(hub, patient=True)
        if not wish.force:
            require_memory(remotes[0].name, sum(remote.size or 0 for remote in remotes))
        require_disk(self._cache.root, sum(missing(self._cache, remote) for remote in remotes))
        paths = [fetch(hub, self._cache, remote, wish, self._sha256) for remote in remotes]
        return paths[0]

    def _describe(self, hub: HuggingFace, patient: bool) -> list[RemoteFile]:
        """What the hub says of every part; all of one commit."""
        file = self._file or choose(hub.gguf_files(self._repo), self._quant, self._repo)
        first, *others = split_names(file)
        head = hub.describe(self._repo, first, patient=patient)
        if self._sha256 and head.sha256 not in (None, self._sha256):
            raise SourceError(f"{self._repo} holds another {shown(first)} than the catalogue means")
        return [head, *(hub.describe(self._repo, name, head.commit, patient=patient) for name in others)]


def missing(cache: HubCache, remote: RemoteFile) -> int:
    """Bytes of a file still to be fetched."""
    blob = cache.blob(remote.repo, remote.etag)
    part = blob.with_name(blob.name + ".part")
    there = part.stat().st_size if part.exists() else 0
    return 0 if blob.exists() else max((remote.size or 0) - there, 0)


def fetch(hub: HuggingFace, cache: HubCache, remote: RemoteFile, wish: Wish, sha256: str | None = None, magic: bytes = MAGIC) -> Path:
    """A file into the cache, unless it is there, under the lock that the hub's library would hold. magic: what it has to begin with."""
    from edgerun.hub.download import download

    blob = cache.blob(remote.repo, remote.etag)
    with Lock(cache.lock_file(remote.repo, remote.etag), wish.waiting_for(remote.name)):
        if not blob.exists() and not cache.holds(remote.repo, remote.commit, remote.name):
            download(
                remote.url,
                blob,
                sha256=sha256 or remote.sha256,
                size=remote.size,
                token=hub.token,
                magic=magic,
                progress=wish.progress_of(remote.name),
            )
        return cache.link(remote.repo, remote.commit, remote.name, remote.etag)


def the_hub() -> HuggingFace:
    """The hub, unless it is not to be asked. SourceError then."""
    from edgerun.hub.huggingface import HuggingFace

    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise SourceError("HF_HUB_OFFLINE is set, so the hub is not asked; unset it to fetch from there")
    return HuggingFace()


def _in_time(ask: Callable[[], list[RemoteFile]], endpoint: str) -> list[RemoteFile]:
    """The result of `ask`, given up after PROBE seconds: looking up a name can take longer than any timeout of a connection.

    When there was no answer at all, that is remembered for `endpoint`.
    """
    from edgerun.hub import web

    outcome: list[list[RemoteFile] | EdgerunError] = []

    def run() -> None:
        try:
            outcome.append(ask())
        except EdgerunError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PROBE)
    result = outcome[0] if outcome else SourceError(f"{web.host_of(endpoint)}: no answer within {PROBE:g} s")
    if isinstance(result, list):
        return result
    if not outcome or (isinstance(result.__cause__, web.FAILURES) and not isinstance(result.__cause__, web.Refused)):
        _unreachable[endpoint] = str(result)
    raise result
