"""One file over HTTP: resumed, retried, hashed, put in its place when whole. Knows no hub, no catalogue, no terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from email.message import Message
from pathlib import Path

from edgerun.errors import SourceError
from edgerun.hub import web
from edgerun.hub.names import shown
from edgerun.hub.part import Part

_BLOCK = 1 << 18
_TICK = 0.05           # seconds between two calls of `progress`
_WORTH = 1 << 16       # bytes after which a connection has been of use
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")

Progress = Callable[[int, "int | None"], None]   # (bytes there, bytes in all if known)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    token: str | None = None,
    magic: bytes = b"GGUF",
    check: Callable[[int, int], None] = lambda size, missing: None,
    progress: Progress = lambda done, total: None,
) -> None:
    """Fetch the file at `url`, which begins with `magic`, to `target`, continuing what an earlier try left beside it.

    `check` gets the size of the file and the bytes still missing, before the first one is fetched. Raises SourceError after enough tries, or at
    once when trying again is pointless; the part stays, unless its length, hash or first bytes are wrong.
    """
    part = Part(target)
    patience = web.Patience(url)
    try:
        while True:
            before = part.size
            try:
                total = _transfer(url, part, size, sha256 is not None, token, magic, check, progress)
                break
            except web.FAILURES as error:
                if part.size >= before + _WORTH:
                    patience.progress()
                patience.after(error)
        part.finish(size if size is not None else total, sha256)
    finally:
        part.close()


def _transfer(
    url: str, part: Part, size: int | None, hashed: bool, token: str | None, magic: bytes, check: Callable[[int, int], None], progress: Progress
) -> int | None:
    """One connection: ask for what is missing and append it. Returns the length of the whole file where the server says it."""
    if size is not None and part.size == size:
        return size
    headers = _resume_headers(part, hashed)
    if not headers:
        part.restart("")
    try:
        reply = web.request(url, headers=headers, token=token)
    except web.Refused as refusal:
        if refusal.status != 416 or not headers:
            raise
        if refusal.headers.get("Content-Range") == f"bytes */{part.size}":   # all of it is here already
            return part.size
        part.restart("")
        return _transfer(url, part, size, hashed, token, magic, check, progress)
    with reply:
        start, total = _position(reply)
        if start != part.size:
            if start:
                raise web.Senseless(f"bytes from {part.size} were asked for, and came from {start}")
            part.restart("")
        if size is not None and total not in (None, size):
            raise SourceError(f"{web.host_of(url)}: {shown(part.target.name)} has {total} bytes there instead of {size}; it is another file")
        total = total if size is None else size
        if not part.size:
            part.restart(_version(reply.headers))
        check(total or 0, max((total or 0) - part.size, 0))
        _receive(reply, part, total, magic, progress)
    return total


def _receive(reply: web.Reply, part: Part, total: int | None, magic: bytes, progress: Progress) -> None:
    """Append the body; ConnectionResetError when it ends before `total`."""
    shown_at = 0.0
    progress(part.size, total)
    while block := reply.read1(_BLOCK):
        part.write(block)
        if len(part.head) == 4 and not part.head.startswith(magic):
            head = part.head
            part.discard()
            raise SourceError(f"{web.host_of(reply.url)}: the answer is not a GGUF file (it begins with {head!r}); check the address")
        if total is not None and part.size > total:
            part.discard()
            raise SourceError(f"{web.host_of(reply.url)}: more bytes came than the {total} that were announced; nothing was kept")
        if time.monotonic() >= shown_at + _TICK:
            shown_at = time.monotonic()
            progress(part.size, total)
    progress(part.size, total)
    if total is not None and part.size < total:
        raise ConnectionResetError(f"it was cut after {part.size} of {total} bytes")


def _resume_headers(part: Part, hashed: bool) -> dict[str, str]:
    """The headers that ask for the rest of `part`; none where nothing proves that the rest would fit to it."""
    if not part.size or not (part.tag or hashed):
        return {}
    return {"Range": f"bytes={part.size}-"} | ({} if hashed else {"If-Range": part.tag})


def _position(reply: web.Reply) -> tuple[int, int | None]:
    """Where in the file the body begins, and the length of the whole file if the server says it."""
    if reply.status == 206:
        found = _RANGE.fullmatch(reply.headers.get("Content-Range", ""))
        if not found:
            raise web.Senseless("a part of the file came without its position")
        return int(found[1]), int(found[2]) if found[2] != "*" else None
    length = reply.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _version(headers: Message) -> str:
    """What names this version of the file in an If-Range: a strong ETag, or the time it was modified."""
    tag = headers.get("ETag", "")
    tag = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
    return tag if tag.isascii() and tag.isprintable() and len(tag) < 256 else ""
