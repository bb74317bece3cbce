"""The cache folder of the Hugging Face hub's own library, used in place. Knows its layout, and no network.

    models--user--repo/refs/main                        the commit that "main" was when last asked
    models--user--repo/snapshots/COMMIT/file.gguf       a link to
    models--user--repo/blobs/ETAG                       the content; for large files ETAG is its SHA-256
    .locks/models--user--repo/ETAG.lock                 held while a blob is written

Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache. Files found here are shared with other programs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from edgerun.hub.lock import Lock
from edgerun.hub.quants import split_names

_FOLDER = re.compile(r"models--([^/]+?)--([^/]+)")


class HubCache:
    """The cache at `root`; by default the one that the hub's library would use, by the same environment variables."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or _default_root()

    def find(self, repo: str, file: str) -> Path | None:
        """Where `file` of `repo` is, with all parts of it if it is split; the version last asked for comes first."""
        names = split_names(file)
        for snapshot in self.snapshots(repo):
            if all((snapshot / name).is_file() for name in names):
                return snapshot / names[0]
        return None

    def holds(self, repo: str, commit: str, file: str) -> bool:
        """Whether `file` of that very commit is here."""
        return (self._folder(repo) / "snapshots" / commit / file).is_file()

    def files(self, repo: str) -> list[str]:
        """Names of the GGUF files of `repo` that are here."""
        return list(dict.fromkeys(p.relative_to(s).as_posix() for s in self.snapshots(repo) for p in _gguf_files(s)))

    def models(self) -> Iterator[tuple[str, str, Path]]:
        """(repository, file, path) of every GGUF file here; a file of several snapshots only in the newest."""
        for folder in sorted(self.root.glob("models--*--*")):
            found = _FOLDER.fullmatch(folder.name)
            if found:
                repo = f"{found[1]}/{found[2]}"
                yield from ((repo, file, path) for file in self.files(repo) if (path := self.find(repo, file)))

    def blob(self, repo: str, etag: str) -> Path:
        """Where the content with `etag` belongs."""
        return self._folder(repo) / "blobs" / etag

    def lock_file(self, repo: str, etag: str) -> Path:
        """What to hold while writing that content."""
        return self.root / ".locks" / self._folder(repo).name / f"{etag}.lock"

    def link(self, repo: str, commit: str, file: str, etag: str) -> Path:
        """Make the content `etag` appear as `file` of `commit`, and `commit` the current one. Returns the path."""
        blob, pointer = self.blob(repo, etag), self._folder(repo) / "snapshots" / commit / file
        pointer.parent.mkdir(parents=True, exist_ok=True)
        if not pointer.is_file():
            pointer.unlink(missing_ok=True)   # a link to content that is gone
            try:
                pointer.symlink_to(os.path.relpath(blob, pointer.parent))
            except FileExistsError:           # another process was faster
                pass
            except OSError:                   # no links on this file system: the content itself goes there, as the library does it
                os.replace(blob, pointer)
        ref = self._folder(repo) / "refs" / "main"
        ref.parent.mkdir(parents=True, exist_ok=True)
        temporary = ref.with_name(f"main.{os.getpid()}")
        temporary.write_text(commit, encoding="utf-8")
        os.replace(temporary, ref)
        return pointer

    def remove(self, repo: str, file: str) -> int:
        """Remove `file` (all its parts) from every snapshot, and the content that nothing else links to. Returns the bytes freed."""
        folder, freed = self._folder(repo), 0
        for name in split_names(file):
            for pointer in (s / name for s in self.snapshots(repo)):
                if pointer.is_symlink():
                    content = pointer.resolve()
                    pointer.unlink()
                    freed += self._release(folder, content)
                elif pointer.is_file():   # of a file system without links
                    freed += pointer.stat().st_size
                    pointer.unlink()
                _prune(pointer.parent, folder)
        for part in folder.glob("blobs/*.part"):
            freed += self._drop_part(repo, part)
        return freed

    def _release(self, folder: Path, content: Path) -> int:
        """Remove `content` unless some snapshot still links to it."""
        inside = content.parent == (folder / "blobs").resolve() and content.is_file()
        if not inside or any(p.resolve() == content for p in (folder / "snapshots").rglob("*") if p.is_symlink()):
            return 0
        size = content.stat().st_size
        content.unlink()
        return size

    def _drop_part(self, repo: str, part: Path) -> int:
        """Remove what an unfinished download left, unless it is going on."""
        lock = Lock(self.lock_file(repo, part.name.removesuffix(".part")))
        if not lock.acquire():
            return 0
        try:
            size = part.stat().st_size
            part.unlink()
            part.with_name(part.name + ".tag").unlink(missing_ok=True)
            return size
        finally:
            lock.release()

    def _folder(self, repo: str) -> Path:
        return self.root / ("models--" + repo.replace("/", "--"))

    def snapshots(self, repo: str) -> list[Path]:
        """Folders of the versions here: the one that "main" names, then the others, newest first."""
        folder = self._folder(repo)
        try:
            current = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            current = ""
        try:
            snapshots = [p for p in (folder / "snapshots").iterdir() if p.is_dir()]
        except OSError:
            return []
        return sorted(snapshots, key=lambda p: (p.name == current, p.stat().st_mtime), reverse=True)


def _default_root() -> Path:
    env = os.environ
    cache = env.get("XDG_CACHE_HOME") or "~/.cache"
    home = env.get("HF_HOME") or os.path.join(cache, "huggingface")
    root = env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    return Path(os.path.expandvars(root)).expanduser()


def _gguf_files(snapshot: Path) -> list[Path]:
    return sorted(p for p in snapshot.rglob("*.gguf") if p.is_file())


def _prune(folder: Path, stop: Path) -> None:
    """Remove `folder` and its parents below `stop` as long as they are empty."""
    while folder != stop and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
