"""The test that each compiling process makes of its instruction set, and what comes of one that fails."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from edgerun.backends.cpu import compiler
from edgerun.backends.cpu.compiler import compile_kernels, environment
from edgerun.backends.cpu.isa import Isa, choose
from edgerun.backends.cpu.kernels import selftest
from edgerun.errors import EdgerunError

BREAK = """
import json, sys
from edgerun.backends.cpu.kernels import dot, selftest, simd
def saturating(b, codes, x, bits):
    return dot._DOT16["portable"](b, [b.and_(c, simd.constant(simd.U8.ir, 127)) for c in codes], x, bits)
def unknown(b, codes, x, bits):
    return simd.invoke(b, "llvm.no.such.thing", simd.I32.ir, codes[0])
def changed(b, codes, x, bits):
    return simd.invoke(b, "llvm.fabs.v16f32", simd.I32.ir, b.bitcast(codes[0], simd.I32.ir))
dot._DOT16[simd.ISA] = {"saturating": saturating, "unknown": unknown, "changed": changed}.get(sys.argv[1], dot._DOT16[simd.ISA])
print(json.dumps(selftest.check()))
"""


def checked(isa: Isa, broken: str) -> str | None:
    """What the test says where the dot product is replaced."""
    child = subprocess.run([sys.executable, "-P", "-c", BREAK, broken], env=environment(isa), capture_output=True, check=True)
    message: str | None = json.loads(child.stdout)
    return message


def test_each_instruction_set_of_this_cpu_passes(forced: Isa) -> None:
    assert checked(forced, "nothing") is None


def test_wrong_numbers_are_found() -> None:
    isa = choose()
    message = checked(isa, "saturating")
    assert message
    assert message.startswith(f"the instruction set {isa.name} does not work with llvmlite ")
    assert "(dot products of 8-bit codes)" in message
    assert "EDGERUN_ISA" in message


@pytest.mark.parametrize(("broken", "word"), [("unknown", "it calls 'llvm.no.such.thing'"), ("changed", "ntrinsic")])
def test_what_llvm_does_not_know_is_found(broken: str, word: str) -> None:
    message = checked(choose(), broken)
    assert message
    assert word in message
    assert message.isprintable()


def test_right_numbers_are_right() -> None:
    room = selftest.inputs(1)
    assert len(selftest.wrong(room)) == len(selftest.BITS) + 4
    for i, bits in enumerate(selftest.BITS):
        for row in range(16):
            room["sums"][i, row] = sum(int(room["codes"][i, c // 4, 4 * row + c % 4]) * int(room["x"][c]) for c in range(16))
        assert f"dot products of {bits}-bit codes" not in selftest.wrong(room)
    room["looked"] = [selftest.TABLE[i] for i in room["index"] % 16]
    for own, (shift, bits, up) in zip(room["fields"], selftest.FIELDS, strict=True):
        own[:] = [(int(byte) >> shift) % (1 << bits) << up for byte in room["bytes"]]
    room["widened"], room["narrowed"] = room["half"], room["single"]
    assert selftest.wrong(room) == []
    room["looked"][7] += 1
    assert selftest.wrong(room) == ["looking up bytes"]
    assert np.abs(selftest.inputs(0)["x"]).min() == 127


def test_a_failure_ends_compiling_with_its_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho warning >&2\necho the instruction set is bad >&2\nexit 3\n")
    fake.chmod(0o700)
    monkeypatch.setattr(compiler.sys, "executable", str(fake))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(EdgerunError, match=r"^the instruction set is bad$"):
        list(compile_kernels(["run-chain"], choose(), None))
