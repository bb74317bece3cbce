"""WGSL texts put together: constants, what all kernels share, the text of one. Knows no device and no op.

A kernel's own text is `wgsl/NAME.wgsl`. The `struct Params` there, or in what it shares, says what a dispatch has to give, so it is read from there.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from edgerun.backends.gpu import frame
from edgerun.backends.gpu.codes import sizes_of, source_of
from edgerun.dataclass import dataclass
from edgerun.formats.packing import Packing

FOLDER = Path(__file__).with_name("wgsl")
_PARAMS = re.compile(r"struct Params \{(.*?)\}", re.DOTALL)
_SUM = re.compile(r"\{(\d+) \* (\d+) \+ (\d+)\}")
_SHARED = {"map": ("functions",), "route": ("functions",), "store": ("memory",), "matvec": ("product",), "matmul": ("product",)}   # texts that go in front of a kernel's own


@dataclass(frozen=True)
class Source:
    """A kernel: its name, its text, and the fields of its parameters with their types, "u32" or "f32"."""

    name: str
    text: str
    fields: tuple[tuple[str, str], ...]


@functools.cache
def text_of(name: str) -> str:
    """A file of the folder."""
    return (FOLDER / f"{name}.wgsl").read_text(encoding="utf-8")


@functools.cache
def kernel(name: str, constants: tuple[tuple[str, int | bool], ...] = (), packing: Packing | None = None, parts: tuple[tuple[str, str], ...] = ()) -> Source:
    """The text of wgsl/NAME.wgsl with constants in front, for a packing where it reads one; `parts`: words of it and what they stand for."""
    own = text_of(name)
    known = {name: int(value) for name, value in (*constants, *(sizes_of(packing).items() if packing else ()))}
    for word, text in parts:
        own = re.sub(rf"\b{word}\b", text.replace("\\", "\\\\"), own)
    pieces = [_constants(frame.CONSTANTS), _constants(constants), text_of("common")]
    pieces += [source_of(packing)] if packing else []
    pieces += [text_of(shared) for shared in _SHARED.get(name, ())]
    text = unrolled("\n".join([*pieces, own]), known)
    found = _PARAMS.search(text)
    assert found, f"wgsl/{name}.wgsl has no parameters"
    return Source(name, text, tuple(re.findall(r"(\w+): (u32|f32)", found[1])))


def unrolled(text: str, known: dict[str, int]) -> str:
    """Lines between `//each NAME COUNT` and `//end` once for each number, with $NAME and then {sums} written out.

    Compilers do not unroll the loops that naga makes, nor keep small arrays in registers.
    """
    done: list[list[str]] = [[]]
    loops: list[tuple[str, int]] = []
    for line in text.splitlines():
        match line.split():
            case ["//each", name, count]:
                loops.append((name, known[count] if count in known else int(count)))
                done.append([])
            case ["//end"]:
                (name, times), body = loops.pop(), done.pop()
                done[-1] += [part.replace(f"${name}", str(i)) for i in range(times) for part in body]
            case _:
                done[-1].append(line)
    return _SUM.sub(lambda found: str(int(found[1]) * int(found[2]) + int(found[3])), "\n".join(done[0]))


def _constants(constants: tuple[tuple[str, int | bool], ...]) -> str:
    lines = (f"const {name} = {str(value).lower() if isinstance(value, bool) else f'{value}u'};" for name, value in constants)
    return "\n".join(lines)
