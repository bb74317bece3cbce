"""From what the user typed to a file on this machine, fetched if need be. Knows the order of things, not how any of them is done."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from edgerun.errors import ModelError, ResourceError, SourceError
from edgerun.hub.catalogue import Catalogue, Entry, HubFile
from edgerun.hub.names import shown
from edgerun.hub.reference import HubReference, NameReference, PathReference, UrlReference, parse
from edgerun.hub.source import Source, Wish


def resolve(
    ref: str,
    *,
    download: bool = True,
    progress: Callable[[int, int | None, str], None] | None = None,
    note: Callable[[str], None] | None = None,
    force: bool = False,
) -> Path:
    """The path of the model `ref` names (of its first part, if it is split), fetched if it is not here and `download` is true.

    `progress` gets (bytes there, bytes in all if known, file name), `note` a line when something goes differently than planned;
    `force` fetches what does not fit into memory. Raises UsageError for what can name nothing, ModelError for a model that does
    not exist or is not here, SourceError when no source gives it, ResourceError when it does not fit.
    """
    reference = parse(ref)
    if isinstance(reference, PathReference):
        return _existing(reference.path, ref)
    sources = _sources(reference)
    for source in sources:
        if path := source.present():
            return path
    if not download:
        raise _absent(ref)
    return _fetch(ref, sources, Wish(progress or Wish().progress, note or Wish().note, force))


def present(ref: str) -> list[Path]:
    """Every copy on this machine of what `ref` names: one for each source that has been used. ModelError when there is none."""
    reference = parse(ref)
    if isinstance(reference, PathReference):
        return [_existing(reference.path, ref)]
    found = [path for source in _sources(reference) if (path := source.present())]
    if not found:
        raise _absent(ref)
    return found


def entry_of(ref: str) -> Entry | None:
    """The catalogue's entry for `ref`, where it is a name or the hub file of an entry; None otherwise."""
    reference = parse(ref)
    if isinstance(reference, NameReference):
        return Catalogue.load().find(reference.name)
    if isinstance(reference, HubReference) and reference.file:
        wanted = (reference.repo, reference.file)
        return next((e for e in Catalogue.load().entries.values() for s in e.sources if (getattr(s, "repo", ""), getattr(s, "file", "")) == wanted), None)
    return None


def _sources(reference: NameReference | HubReference | UrlReference) -> list[Source]:
    """The sources of what was asked for, in the order in which they are tried."""
    # Here, because a file that is named by its path needs none of them.
    from edgerun.hub.hub_source import HubSource
    from edgerun.hub.index_source import IndexSource

    if isinstance(reference, HubReference):
        return [HubSource(reference.repo, reference.file, "" if reference.file else reference.want)]
    if isinstance(reference, UrlReference):
        from edgerun.hub.url_source import UrlSource

        return [UrlSource(reference.url)]
    entry = _entry(reference.name)
    return [HubSource(s.repo, s.file, sha256=entry.sha256) if isinstance(s, HubFile) else IndexSource(entry, s) for s in entry.sources]


def _fetch(ref: str, sources: Sequence[Source], wish: Wish) -> Path:
    """From the first source that gives it. Only a source that another one can replace is probed, so a slow one is not given up."""
    failures: list[str] = []
    for source, following in zip(sources, [*sources[1:], None], strict=True):
        try:
            if following:
                source.probe()
            return source.fetch(wish)
        except OSError as error:
            raise ResourceError(f"{shown(error.filename, 200)} cannot be written ({error.strerror}); check the permissions and the disk") from error
        except SourceError as error:
            failures.append(str(error) if len(sources) == 1 else f"{source.label}: {error}")
            if following:
                wish.note(f"{source.label} does not give {shown(ref)[1:-1]} ({error}); trying {following.label}")
    raise SourceError(f"{shown(ref)[1:-1]} could not be fetched: " + "; ".join(failures))


def _absent(ref: str) -> ModelError:
    return ModelError(f"{shown(ref)[1:-1]} is not on this machine; fetch it with: edgerun pull {shown(ref)[1:-1]}")


def _existing(path: Path, ref: str) -> Path:
    if os.path.lexists(path):
        return path
    hint = ""
    parts = ref.split(":")[0].split("/")
    if len(parts) == 2 and not ref.startswith((".", "/", "~")) and not ref.lower().endswith(".gguf"):
        hint = f"; for a repository of the hub write hf:{shown(ref)[1:-1]}"
    raise ModelError(f"{shown(ref, 200)}: no such file{hint}")


def _entry(name: str) -> Entry:
    catalogue = Catalogue.load()
    if entry := catalogue.find(name):
        return entry
    hints = []
    if near := catalogue.nearest(name):
        hints.append("nearest names: " + ", ".join(near))
    if os.path.lexists(name):
        hints.append(f"for the file of that name write ./{name}")
    hints.append("edgerun list --all shows every name; hf:user/repo, URLs and paths work too")
    raise ModelError(f"there is no model {name!r} in the catalogue; " + "; ".join(hints))
