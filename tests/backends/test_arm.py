"""Kernels for ARM, made on any machine: what they ask for, and, where an emulator and a cross compiler are, what they compute.

Debian: qemu-user, gcc-aarch64-linux-gnu, libc6-dev-arm64-cross. Each kernel becomes a small program that maps an image of memory at
a fixed address, runs the kernel on it and prints the image: so pointers in the image can be written here.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgerun.backends.cpu import arm, objectcode
from edgerun.backends.cpu.compiler import environment
from edgerun.backends.cpu.isa import NEON, NEONI8MM, PORTABLE, Isa, runnable
from edgerun.backends.cpu.kernels import selftest
from edgerun.backends.cpu.native import Linked
from edgerun.backends.cpu.store import KernelStore
from edgerun.formats import by_name

LINUX, MACOS = "aarch64-unknown-linux-gnu", "arm64-apple-macosx"
EMULATED = ["selftest", "product-Q4_K", "product-Q8_0", "row-quantize-codes", "row-gate-gelu_erf"]
TARGETS = {
    (NEON, LINUX): [*EMULATED, "product_float-f16", "attention-f16-f16-3", "store-f16-f16", "merge-f16", "run-step", "run-work", "run-chain"],
    (NEONI8MM, LINUX): EMULATED,
    (NEON, MACOS): ["product-Q4_K", "row-quantize-codes", "row-norm-rms", "run-step"],
}
TOOLS = ("qemu-aarch64", "aarch64-linux-gnu-gcc")
BASE = 0x40000000
DRIVER = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
int32_t KERNEL(void **, void **, int64_t, int64_t);
int main(int argc, char **argv) {
    size_t size = strtoul(argv[1], 0, 10);
    void *room = mmap((void *)BASE, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0), *result, *error;
    if (room != (void *)BASE || fread(room, 1, size, stdin) != size) return 1;
    for (long chunk = 0; chunk < atol(argv[2]); chunk++) KERNEL(&result, &error, BASE, chunk);
    return fwrite(room, 1, size, stdout) != size;
}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Isa, str, str], tuple[str, bytes]]:
    """(symbol, object) of a kernel for an ISA and a triple; all are compiled at once."""
    folders = {(isa.name, triple): tmp_path_factory.mktemp("arm") for isa, triple in TARGETS}
    child = [sys.executable, str(Path(__file__).with_name("cross.py"))]
    children = [subprocess.Popen([*child, triple, str(folders[isa.name, triple]), *names], env=environment(isa)) for (isa, triple), names in TARGETS.items()]
    assert [child.wait(timeout=200) for child in children] == [0] * len(children)

    def kernel(isa: Isa, triple: str, name: str) -> tuple[str, bytes]:
        symbol, _, code = (folders[isa.name, triple] / f"{name}.o").read_bytes().partition(b"\0")
        return symbol.decode(), code

    return kernel


@pytest.mark.parametrize(("isa", "triple"), TARGETS, ids=lambda value: value if isinstance(value, str) else value.name)
def test_a_kernel_asks_for_nothing(made: Callable[[Isa, str, str], tuple[str, bytes]], isa: Isa, triple: str) -> None:
    """Not even for memset; and never for libm or the helpers of a compiler."""
    magic = b"\x7fELF" if triple == LINUX else b"\xcf\xfa\xed\xfe"
    for name in TARGETS[isa, triple]:
        symbol, code = made(isa, triple, name)
        assert code.startswith(magic)
        assert name.replace("-", "_") in symbol
        assert objectcode.undefined_symbols(code) <= objectcode.ALLOWED, name
        assert objectcode.harmless(code)


# ---- under an emulator -------------------------------------------------------------------------------------------------


class Image:
    """Memory with pointers into itself: parts one after another, each at a multiple of 64."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.pointers: list[tuple[int, int]] = []
        self.size = 0

    def put(self, part: np.ndarray) -> int:
        """Its place."""
        room = np.zeros(-(-part.nbytes // 64) * 64, np.uint8)
        room[: part.nbytes] = np.ascontiguousarray(part).reshape(-1).view(np.uint8)
        self.parts.append(room)
        self.size += len(room)
        return self.size - len(room)

    def at(self, base: int) -> np.ndarray:
        """The bytes, for a machine where they begin at `base`."""
        image = np.concatenate(self.parts)
        for where, to in self.pointers:
            image[where : where + 8] = np.array([base + to], np.int64).view(np.uint8)
        return image


def words(image: Image, *values: int | str, **places: int) -> None:
    """Fill the first part, an argument block, with numbers and places in the image."""
    for i, value in enumerate(values):
        if isinstance(value, str):
            image.pointers.append((8 * i, places[value]))
        else:
            image.parts[0][8 * i : 8 * i + 8] = np.array([value], np.int64).view(np.uint8)


def product_of(fmt: str) -> Image:
    """24 rows of a format with 27 tokens: a group, tiles of every size, and a block of rows that is not full."""
    packing, random, tokens, rows = by_name(fmt).packing, np.random.default_rng(3), 27, 24
    image, blocks = Image(), 2 if packing.cols < 256 else 1
    cols = blocks * packing.cols
    image.put(np.zeros(16, np.int64))
    w = random.integers(0, 256, (2 * blocks, packing.size), np.uint8)
    w[:, : packing.codes_at] = 0x2C   # halves of about 0.07
    parts = {
        "w": w, "xq": random.integers(-127, 128, (tokens, cols)).astype(np.int8), "xd": random.random((tokens, cols // 16), np.float32),
        "xs": random.standard_normal((tokens, cols // packing.sub)).astype(np.float32), "y": np.zeros((tokens, rows), np.float32),
        "tokens": np.array([tokens], np.int64),
    }  # fmt: skip
    places = {name: image.put(part) for name, part in parts.items()}
    words(image, "w", blocks, 2, 1, "xq", "xd", "xs", "y", 4 * rows, rows, 0, 0, 0, "tokens", **places)
    return image


def rows_of(name: str) -> Image:
    """A row of 64 numbers through a kernel on rows."""
    image, x = Image(), np.random.default_rng(5).standard_normal((2, 64)).astype(np.float32) * 3
    image.put(np.zeros(16, np.int64))
    places = {part: image.put(x) for part in ("x", "z")} | {part: image.put(np.zeros(64, np.float32)) for part in ("out", "d", "sums", "pairs")}
    if name == "row-quantize-codes":
        words(image, "x", 0, 64, "out", "d", "sums", "pairs", "count", count=image.put(np.array([1], np.int64)), **places)
    else:
        words(image, "x", 0, "z", 0, "out", 0, 64, 0, **places)
    return image


@pytest.fixture(scope="module")
def emulate(made: Callable[[Isa, str, str], tuple[str, bytes]], tmp_path_factory: pytest.TempPathFactory) -> Callable[[Isa, str, np.ndarray], np.ndarray]:
    """Runs a kernel on an image that lies at BASE, and gives the image after it."""
    folder = tmp_path_factory.mktemp("emulated")

    def run(isa: Isa, name: str, image: np.ndarray) -> np.ndarray:
        symbol, code = made(isa, LINUX, name)
        program, source, kernel = (folder / f"{isa.name}-{name}{end}" for end in ("", ".c", ".o"))
        source.write_text(DRIVER)
        kernel.write_bytes(code)
        subprocess.run([TOOLS[1], "-static", "-no-pie", f"-DKERNEL={symbol}", f"-DBASE={BASE}", source, kernel, "-o", program], check=True)
        result = subprocess.run([TOOLS[0], program, str(len(image)), "1"], input=image.tobytes(), capture_output=True, check=True, timeout=60)
        return np.frombuffer(result.stdout, np.uint8)

    return run


@pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {' and '.join(TOOLS)}")
@pytest.mark.parametrize("isa", [NEON, NEONI8MM], ids=lambda isa: isa.name)
class TestEmulated:
    def test_the_primitives(self, emulate: Callable[[Isa, str, np.ndarray], np.ndarray], isa: Isa) -> None:
        for seed in range(3):
            room = selftest.inputs(seed)
            after = emulate(isa, "selftest", room.reshape(1).view(np.uint8))
            assert selftest.wrong(after.view(selftest.ROOM)[0]) == []

    @pytest.mark.skipif(runnable() == [PORTABLE], reason="there a multiplication and an addition round twice")
    @pytest.mark.parametrize("name", EMULATED[1:])
    def test_the_same_bits_as_here(self, emulate: Callable[[Isa, str, np.ndarray], np.ndarray], isa: Isa, name: str, shared_home: Path) -> None:
        image = product_of(name.split("-")[1]) if name.startswith("product") else rows_of(name)
        here = next(isa for isa in runnable() if isa.activation == 1)
        function = Linked(KernelStore(here, shared_home / "kernels").load([name]), here).function(name, 2)
        room = np.zeros(image.size + 64, np.uint8)
        room = room[-room.ctypes.data % 64 :][: image.size]
        room[:] = image.at(room.ctypes.data)
        before = room.copy()
        function(room.ctypes.data, 0)
        after = emulate(isa, name, image.at(BASE))
        changed = room != before
        assert changed.sum() > 64
        assert np.array_equal(room[changed], after[changed])
        assert np.array_equal(after != image.at(BASE), changed)


def test_what_the_system_says_of_this_cpu() -> None:
    known = arm.features()
    assert known <= {"neon", "lse", "dotprod", "i8mm"}
    if platform.machine().lower() in ("aarch64", "arm64"):
        assert "neon" in known
