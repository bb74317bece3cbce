"""The protocol of the Hugging Face hub: what a repository holds, and where a file of it is. Writes nothing to disk.

Files come through `download.py` and not through the hub's library: that one (2.4) begins anew after Ctrl-C, checks no
hash and does not fsync. Tokens and the cache layout stay the library's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from email.message import Message
from typing import Any, TypeVar
from urllib.parse import quote

from huggingface_hub import get_token

from edgerun.dataclass import dataclass
from edgerun.errors import SourceError
from edgerun.hub import web
from edgerun.hub.names import safe_path, shown

_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"[0-9A-Za-z_-]{8,128}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LINK = re.compile(r'<([^<>]+)>; *rel="next"')
_MOST_PAGES, _LONGEST_PAGE = 20, 8 << 20
_PATIENCE = 10.0   # seconds for an answer about a file
_T = TypeVar("_T")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a repository at one commit; `etag` names its content, `size` is in bytes."""

    repo: str
    name: str
    commit: str
    etag: str
    size: int | None
    url: str

    @property
    def sha256(self) -> str | None:
        """The hash of the content, which the hub gives for every large file."""
        return self.etag if _SHA256.fullmatch(self.etag) else None


class HuggingFace:
    """The hub at $HF_ENDPOINT, by default huggingface.co, with the user's token by the rules of the hub's library."""

    def __init__(self) -> None:
        self.endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        self.token = get_token()   # HF_TOKEN, the file that `hf auth login` writes, a notebook's secrets

    def describe(self, repo: str, name: str, revision: str = "main", *, patient: bool = True) -> RemoteFile:
        """What the hub knows of file `name`, asking again after a passing failure if `patient`. SourceError if it has no such file."""
        safe_path(name, repo)
        url = self._file_url(repo, name, revision)

        def ask() -> Message:
            with web.request(url, method="HEAD", token=self.token, timeout=_PATIENCE, enough=_describes) as reply:
                return reply.headers

        return self._remote(repo, name, _asked(url, ask, patient))

    def gguf_files(self, repo: str) -> list[str]:
        """Names of all GGUF files of `repo`. SourceError if there is no such repository."""
        return [str(safe_path(name, repo)) for name in self.files(repo) if name.endswith(".gguf")]

    def files(self, repo: str) -> list[str]:
        """Names of all files of `repo`, as the hub gives them: check one before it is used as a path."""
        url: str | None = f"{self.endpoint}/api/models/{repo}/tree/main?recursive=true"
        names: list[str] = []
        for _ in range(_MOST_PAGES):
            if url is None:
                break
            page, url = self._page(url)
            names += [path for item in page if (path := _path(item))]
        return names

    def _page(self, url: str) -> tuple[list[Any], str | None]:
        """One page of a listing, and the address of the next."""

        def ask() -> tuple[bytes, str]:
            with web.request(url, token=self.token, timeout=_PATIENCE) as reply:
                return reply.read_all(_LONGEST_PAGE), reply.headers.get("Link", "")

        body, link = _asked(url, ask, patient=True)
        try:
            page = json.loads(body)
        except (ValueError, RecursionError):
            page = None
        if not isinstance(page, list):
            raise SourceError(f"{web.host_of(url)}: the list of files is not what a hub answers; check HF_ENDPOINT")
        following = _LINK.search(link)
        return page, following[1] if following and following[1].startswith(self.endpoint + "/") else None

    def _remote(self, repo: str, name: str, headers: Message) -> RemoteFile:
        commit = headers.get("X-Repo-Commit", "")
        etag = (headers.get("X-Linked-Etag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
        size = headers.get("X-Linked-Size") or ("" if "Location" in headers else headers.get("Content-Length")) or ""
        if not _COMMIT.fullmatch(commit) or not _ETAG.fullmatch(etag):
            raise SourceError(f"{web.host_of(self.endpoint)}: the answer about {shown(name)} is not what a hub answers; check HF_ENDPOINT and proxies")
        known = int(size) if size.isdecimal() and len(size) < 16 else None
        return RemoteFile(repo, name, commit, etag, known, self._file_url(repo, name, commit))

    def _file_url(self, repo: str, name: str, revision: str) -> str:
        return f"{self.endpoint}/{repo}/resolve/{revision}/{quote(name)}"


def _describes(headers: Message) -> bool:
    """Whether a redirect already says what the file is (it leads to the store of large files) and need not be followed."""
    return "X-Linked-Etag" in headers and "X-Repo-Commit" in headers


def _path(item: object) -> str | None:
    """The path of one item of a listing, if it is a file."""
    path = item.get("path") if isinstance(item, dict) and item.get("type") == "file" else None
    return path if isinstance(path, str) else None


def _asked(url: str, ask: Callable[[], _T], patient: bool) -> _T:
    """The result of `ask`, tried again after passing failures if `patient`."""
    patience = web.Patience(url)
    while True:
        try:
            return ask()
        except web.FAILURES as error:
            if not patient:
                raise web.explain(error, url) from error
            patience.after(error)
