"""Reads the head of a GGUF file in order, and lets nothing past its bounds. Knows the primitive values, not their meaning."""

from __future__ import annotations

import mmap
import struct
from typing import NoReturn

from edgerun.errors import GGUFError
from edgerun.gguf.file import File, shown

MAX_HEAD = 40 << 20   # bytes before the tensor data, of which a copy is made; the largest vocabulary today takes 16 MB
_CHUNK = 1 << 20
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


class Cursor:
    """A position in a file, with the bytes up to it, which are read chunk by chunk, and only after the size allows it.

    `data` has room for all that may come, so that it never moves; it is anonymous memory, of which only what is read is real.
    """

    def __init__(self, file: File):
        self.file = file
        self.at = 0
        self.data = memoryview(mmap.mmap(-1, min(max(file.size, 1), MAX_HEAD)))
        self.loaded = self.data[:0]

    def fail(self, problem: str, at: int | None = None) -> NoReturn:
        """GGUFError: the file, the problem, the byte."""
        raise GGUFError(f"{self.file.name}: {problem} (at byte {self.at if at is None else at})")

    def need(self, count: int, what: str) -> int:
        """Make sure that `count` more bytes are in memory; returns where they end."""
        end = self.at + count
        if end > len(self.loaded):
            self._load(end, what)
        return end

    def _load(self, end: int, what: str) -> None:
        size = self.file.size
        if end > size:
            self.fail(f"{what} reaches {end - size} bytes past the end of the file, which is cut short or damaged; download it again")
        if end > MAX_HEAD:
            self.fail(f"{what} ends at byte {end}, but metadata beyond {MAX_HEAD >> 20} MiB is not accepted")
        have, target = len(self.loaded), min(max(end, len(self.loaded) + _CHUNK), len(self.data))
        self.file.read_into(self.data[have:target], have)
        self.loaded = self.data[:target]

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes."""
        start, self.at = self.at, self.need(count, what)
        return self.slice(start, self.at)

    def skip(self, count: int, what: str) -> None:
        """Pass `count` bytes."""
        self.at = self.need(count, what)

    def slice(self, start: int, end: int) -> bytes:
        """A copy of bytes that have been passed."""
        return bytes(self.loaded[start:end])

    def u32(self, what: str) -> int:
        """The next four bytes as a number."""
        end = self.need(4, what)
        value: int = _U32.unpack_from(self.loaded, self.at)[0]
        self.at = end
        return value

    def u64(self, what: str) -> int:
        """The next eight bytes as a number."""
        end = self.need(8, what)
        value: int = _U64.unpack_from(self.loaded, self.at)[0]
        self.at = end
        return value

    def name(self, what: str, limit: int) -> str:
        """A string that names something: 1 to `limit` bytes of printable UTF-8."""
        start = self.at
        length = self.u64(f"the length of {what}")
        if not 0 < length <= limit:
            self.fail(f"{what} is {length} bytes long; it must be 1 to {limit}: the file is damaged", start)
        try:
            text = self.take(length, what).decode()
        except UnicodeDecodeError:
            self.fail(f"{what} is not UTF-8: the file is damaged", start)
        if not text.isprintable():
            self.fail(f"{what} has unprintable characters: '{shown(text)}'", start)
        return text

    def skip_strings(self, count: int, what: str) -> None:
        """Pass `count` strings, length by length: the cheapest walk that is exact (60 ns a string)."""
        unpack, loaded, at, left = _U64.unpack_from, self.loaded, self.at, count
        while True:
            try:
                for left in range(left, 0, -1):   # noqa: B007, B020 (after a pause it goes on where it stopped)
                    at += unpack(loaded, at)[0] + 8
                left = 0
                break
            except (struct.error, OverflowError):   # the walk has left what is in memory, before string `count - left`
                if at + 8 > self.file.size:
                    break
                self.at = at
                self.need(8, what)
                loaded = self.loaded
        if left or at > self.file.size:
            string = f"string {max(count - left - 1, 0)} of {what}"
            self.fail(f"{string} reaches past the end of the file, which is cut short or damaged; download it again", self.file.size)
        self.skip(at - self.at, what)
