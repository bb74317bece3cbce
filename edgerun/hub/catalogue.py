"""The catalogue of known models, read from models.toml. Knows nothing of disk, network or what is installed."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgerun.dataclass import dataclass


@dataclass(frozen=True)
class HubFile:
    """A GGUF file in a repository of the hub (its first part, if it is split)."""

    repo: str
    file: str
    verified: bool = False


@dataclass(frozen=True)
class IndexFile:
    """A GGUF file inside a wheel of the package index."""

    package: str
    version: str
    wheel_sha256: str
    wheel_size: int   # bytes
    member: str       # path inside the wheel
    verified: bool = False


@dataclass(frozen=True)
class Entry:
    """One known model. `size` in bytes is exact where there is a `sha256` and approximate otherwise."""

    name: str
    sources: tuple[HubFile | IndexFile, ...]
    size: int
    license: str
    context: int                     # positions the model was trained for
    sha256: str | None
    sampling: Mapping[str, float]    # the authors' advice; keys as of the sampling options
    aliases: tuple[str, ...]

    @property
    def verified(self) -> bool:
        """Whether some source has been tried by a person."""
        return any(source.verified for source in self.sources)


@dataclass(frozen=True)
class Catalogue:
    """Entries by name, in the order of the file, and the name used when none is given."""

    default: str
    entries: Mapping[str, Entry]

    @classmethod
    @functools.cache
    def load(cls) -> Catalogue:
        """The catalogue that came with this installation; read once per process."""
        return cls.read(catalogue_file())

    @classmethod
    def read(cls, path: Path) -> Catalogue:
        """The catalogue in the file at `path`."""
        import tomllib

        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(table["default"], {name: _entry(name, fields) for name, fields in table["models"].items()})

    def find(self, name: str) -> Entry | None:
        """The entry called `name` or having it as an alias, whatever the case of its letters."""
        name = name.lower()
        return self.entries.get(name) or next((e for e in self.entries.values() if name in e.aliases), None)

    def nearest(self, name: str) -> list[str]:
        """At most three names that a person may have meant, best first."""
        import difflib

        names = [n for e in self.entries.values() for n in (e.name, *e.aliases)]
        near = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
        family = name.lower().split(":")[0]
        return near or [n for n in self.entries if n.startswith(family)][:3]


def catalogue_file() -> Path:
    """Where models.toml is: beside the package's modules in a wheel, at the root of the repository in an editable install."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "models.toml"
    return inside if inside.exists() else package.parent / "models.toml"


def _entry(name: str, fields: Mapping[str, Any]) -> Entry:
    return Entry(
        name=name,
        sources=tuple(_source(s) for s in fields["sources"]),
        size=fields["size"],
        license=fields["license"],
        context=fields["context"],
        sha256=fields.get("sha256"),
        sampling=fields.get("sampling", {}),
        aliases=tuple(fields.get("aliases", ())),
    )


def _source(fields: Mapping[str, Any]) -> HubFile | IndexFile:
    if "hub" in fields:
        return HubFile(fields["hub"], fields["file"], fields.get("verified", False))
    return IndexFile(**fields)
