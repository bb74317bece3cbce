"""Ways to damage a good GGUF file. Knows the file only as bytes and as the places where its numbers stand."""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from pathlib import Path

from edgerun.gguf.cursor import Cursor
from edgerun.gguf.file import File
from edgerun.gguf.header import read_header


@dataclass(frozen=True)
class Seed:
    """A good file. head: what is mutated; tail: bytes of tensor data that follow as a hole.

    fields: where the numbers of the layout stand in head (lengths, counts, types); values: start and size of everything else.
    """

    name: str
    head: bytes
    tail: int
    header_size: int
    fields: tuple[int, ...]
    values: tuple[tuple[int, int], ...]


def seed_from(path: Path, whole: int = 1 << 20) -> Seed:
    """The seed of a file; of one larger than `whole` bytes, only the header is kept, and the rest is a hole."""
    places: dict[int, int] = {}
    fields: list[int] = []

    class Recorder(Cursor):
        """Notes everything that the header's reader asks for."""

        def need(self, count: int, what: str) -> int:
            places[self.at] = count
            return super().need(count, what)

        def name(self, what: str, limit: int) -> str:
            start = self.at
            name = super().name(what, limit)
            del places[start + 8]   # a damaged name ends the reading; fields and random bytes see to that often enough
            return name

        def u32(self, what: str) -> int:
            fields.append(self.at)
            return super().u32(what)

        def u64(self, what: str) -> int:
            fields.append(self.at)
            return super().u64(what)

    file = File(path)
    try:
        import edgerun.gguf.header as header

        header.Cursor, kept = Recorder, header.Cursor   # type: ignore[misc]
        try:
            tensors = read_header(file).tensors
        finally:
            header.Cursor = kept   # type: ignore[misc]
        end = min((t.offset for t in tensors.values()), default=file.size)
        head = file.read(0, file.size if file.size <= whole else end)
        values = ((at, count) for at, count in places.items() if count and at not in fields)
        return Seed(path.name, head, file.size - len(head), end, tuple(fields), tuple(values))
    finally:
        file.close()


_FLOATS = [struct.pack("<d", x) for x in (0.0, -1.0, 1e-300, 1e300, float("nan"), float("inf"))]
_FLOATS += [struct.pack("<ff", x, x) for x in (0.0, -1.0, 1e-40, 1e-30, 1e30, float("nan"), float("inf"), float("-inf"))]


def mutate(seed: Seed, others: list[Seed], rng: random.Random) -> tuple[bytes, int]:
    """A damaged head, and the size of the hole behind it."""
    head = bytearray(seed.head)
    tail = seed.tail
    if rng.random() < 0.3:   # a sound layout of senseless values, for what comes after the reader
        for _ in range(rng.choice((1, 1, 2, 4))):
            _attack_value(head, seed, others, rng)
        return bytes(head), tail
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        rng.choice(_WAYS)(head, seed, others, rng)
    if len(head) < len(seed.head) * rng.random() or rng.random() < 0.1:
        tail = rng.choice((0, rng.randrange(tail + 1), tail))
    return bytes(head), tail


def _place(head: bytearray, seed: Seed, rng: random.Random) -> int:
    """A position, nearly always in the header, and more often near its start."""
    end = len(head) if rng.random() < 0.03 else min(seed.header_size, len(head))
    return int(max(end - 1, 0) * rng.random() ** rng.choice((1, 1, 3)))


def _number(size: int, rng: random.Random) -> int:
    near = rng.choice((0, 1, 2, 7, 8, 12, 13, 64, 255, 256, 65535, 1 << 16, 1 << 20, (1 << 20) + 1, 1 << 24, size, 1 << 31, 1 << 32, 1 << 61, 1 << 63, 1 << 64))
    return (near + rng.choice((-9, -8, -2, -1, 0, 0, 0, 1, 2))) % (1 << 64)


def _flip_bits(head: bytearray, seed: Seed, others: list[Seed], rng: random.Random) -> None:
    for _ in range(rng.choice((1, 2, 8)) if head else 0):
        head[_place(head, seed, rng)] ^= 1 << rng.randrange(8)


def _set_bytes(head: bytearray, seed: Seed, others: list[Seed], rng: random.Random) -> None:
    at = _place(head, seed, rng)
    value = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80", rng.randbytes(1))) * rng.choice((1, 2, 4, 8))
    head[at : at + len(value)] = value


def _attack_field(head: bytearray, seed: Seed, others: list[Seed], rng: random.Random) -> None:
    _attack(head, rng.choice(seed.fields), rng)


def _attack_anywhere(head: bytearray, seed: Seed, others: list[Seed], rng: random.Random) -> None:
    _attack(head, _place(head, seed, rng), rng)


def _attack_value(head: bytearray, seed: Seed, others: list[Seed], rng: random.Random) -> None:
    start, size = rng.choice(seed.values)
    item = rng.choice([width for width in (1, 4, 8) if width <= size] or [size])
    at = start + rng.randrange(max(size // item, 1)) * item
    value = rng.choice(_FLOATS) if rng.random() < 0.2 else struct.pack("<Q", _number(size, rng))
    head[at : at + item] = value[:item]


def _attack(head: bytearray, at: int, rng: random.Random) -> None:
    number = _number(len(head), rng)
    if rng.random() < 0.4 and at + 8 <= len(head):   # a step away from what stands there
        number = (struct.unpack_from("<Q", head, at)[0] + rng.choice((-8, -1, 1, 8, 32, 1 << 32, 1 << 63))) % (1 << 64)
    value = struct.pack("<Q", number)[: rng.choice((1, 4, 4, 8, 8))]
    head[at : at + len(value)] = value[: max(len(head) - at, 0)]


def _cut_out(head: bytearray, seed: Seed, others: list[Seed], rng: random.Random) -> None:
    at = _place(head, seed, rng)
    del head[at : at + rng.choice((1, 4, 8, rng.randrange(1, 200)))]


def _repeat(head: bytearray, seed: Seed, others: list[Seed], rng: random.Random) -> None:
    at = _place(head, seed, rng)
    head[at:at] = head[at : at + rng.choice((1, 8, rng.randrange(1, 200)))] * rng.choice((1, 1, 2, 50))


def _splice(head: bytearray, seed: Seed, others: list[Seed], rng: random.Random) -> None:
    donor = rng.choice(others).head
    start = rng.randrange(max(len(donor), 1))
    part = donor[start : start + rng.choice((8, 40, 400))]
    at = _place(head, seed, rng)
    head[at : at + rng.choice((0, len(part)))] = part


def _shorten(head: bytearray, seed: Seed, others: list[Seed], rng: random.Random) -> None:
    if rng.random() < 0.5:
        del head[rng.randrange(len(head) + 1) :]


_WAYS = (_flip_bits, _set_bytes, _attack_field, _attack_field, _attack_field, _attack_anywhere, _cut_out, _repeat, _splice, _shorten)
