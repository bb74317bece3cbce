"""What a user typed to name a model, understood. Knows neither the catalogue's content nor the disk nor the network.

    smollm2:135m                       a name of the catalogue
    hf:user/repo                       a hub repository: the file is chosen (see quants.py)
    hf:user/repo:Q8_0                  ... with this quantization
    hf:user/repo:folder/file.gguf      ... this very file; a page address of the hub means the same
    https://host/file.gguf             a file anywhere
    ./file.gguf                        a path: whatever has a separator, or ends in .gguf
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgerun.dataclass import dataclass
from edgerun.errors import UsageError
from edgerun.hub.names import is_plain, shown


@dataclass(frozen=True)
class PathReference:
    """A file of this machine."""

    path: Path


@dataclass(frozen=True)
class NameReference:
    """A name or alias of the catalogue, in small letters."""

    name: str


@dataclass(frozen=True)
class HubReference:
    """A repository of the hub; `want` is a file of it, a quantization, or empty for the usual choice."""

    repo: str
    want: str = ""

    @property
    def file(self) -> str | None:
        """The file asked for, None where it is to be chosen."""
        return self.want if self.want.endswith(".gguf") else None


@dataclass(frozen=True)
class UrlReference:
    """A file behind HTTP."""

    url: str


Reference = PathReference | NameReference | HubReference | UrlReference

_REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_QUANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(:[a-z0-9._-]+)?")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_HUB_PAGE = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(.*)", re.IGNORECASE)
_PAGE_PATH = re.compile(r"([^/]+/[^/]+)/(?:resolve|blob)/main/(.+)")
_HUB_FORM = "write hf:user/repo, hf:user/repo:Q4_K_M or hf:user/repo:file.gguf"


def parse(ref: str) -> Reference:
    """What `ref` names. UsageError when it cannot name anything; whether the thing exists is not looked at."""
    if not ref.strip():
        raise UsageError("no model named; give a catalogue name (edgerun list --all), hf:user/repo, a URL or a path")
    if "\0" in ref:
        raise UsageError(f"{shown(ref)} holds a zero character, which no name of a model can")
    if page := _HUB_PAGE.fullmatch(ref):
        return _hub_page(page[1], ref)
    if ref.lower().startswith("hf:"):
        return _hub(ref[3:].removeprefix("//"), ref)
    if scheme := _SCHEME.match(ref):
        return _url(scheme[1].lower(), ref)
    separators = {"/", os.sep, os.altsep or "/"}
    if any(s in ref for s in separators) or ref.lower().endswith(".gguf") or ref.startswith((".", "~")):
        return PathReference(Path(os.path.expanduser(ref)))
    if not _NAME.fullmatch(ref.lower()):
        raise UsageError(f"{shown(ref)} is not the name of a model; for a file of that name write ./{shown(ref)[1:-1]}")
    return NameReference(ref.lower())


def _hub(rest: str, ref: str) -> HubReference:
    """user/repo, user/repo:want or user/repo/file.gguf."""
    repo, _, want = rest.partition(":")
    if not want and repo.count("/") >= 2:
        user, name, want = repo.split("/", 2)
        repo = f"{user}/{name}"
    if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo:
        raise UsageError(f"{shown(ref)} does not name a hub repository; {_HUB_FORM}")
    if want.lower().endswith(".gguf"):
        if not want.endswith(".gguf") or not all(is_plain(part) for part in want.split("/")):
            raise UsageError(f"{shown(ref)} does not name a .gguf file of a hub repository; {_HUB_FORM}")
    elif want and not _QUANT.fullmatch(want):
        raise UsageError(f"{shown(want)} is neither a quantization nor a .gguf file; {_HUB_FORM}")
    return HubReference(repo, want)


def _hub_page(path: str, ref: str) -> HubReference:
    """The address of a repository or of one of its files as a browser shows it."""
    path = path.split("?")[0].split("#")[0].strip("/").removesuffix("/tree/main")
    if file := _PAGE_PATH.fullmatch(path):
        return _hub(f"{file[1]}:{file[2]}", ref)
    return _hub(path, ref)


def _url(scheme: str, ref: str) -> UrlReference:
    """An http(s) address with a host, without a password."""
    from urllib.parse import urlsplit

    if scheme not in ("http", "https"):
        raise UsageError(f"{shown(ref)}: only http:// and https:// addresses can be fetched, not {scheme}://")
    try:
        parts = urlsplit(ref)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not ref.isprintable() or " " in ref:
        raise UsageError(f"{shown(ref)} is not a valid address")
    if parts.username is not None:
        raise UsageError("an address with a user name or password in it is not accepted: it would be stored and shown")
    return UrlReference(ref.split("#")[0])
