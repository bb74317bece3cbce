"""Matrices times activations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgerun.backends.cpu.kernels.control import SHARED, TURNS
from edgerun.backends.cpu.phase import Phase, Quantized
from edgerun.backends.cpu.weights import Matrix
from edgerun.graph import ops

CHUNK_BYTES = 256 << 10   # weights of the smallest chunk: where one ends, nothing has been asked for ahead (`kernels/prefetch.py`)
CHUNKS = 4                # at most, for each thread: as many as a thread that loses its core leaves to others

if TYPE_CHECKING:
    from edgerun.backends.cpu.phases import Phases


def parts(matrix: Matrix, threads: int, beside: int = 1) -> int:
    """Into how many chunks a matrix is cut, when so many of its size are multiplied in a phase."""
    blocks = -(-matrix.rows // 16)
    chunks = min(CHUNKS * threads, max(threads, beside * blocks * matrix.block_bytes // CHUNK_BYTES))
    per = min(-(-blocks * beside // chunks), blocks)
    return -(-blocks // per)


def linear(p: Phases, op: ops.Linear) -> None:
    """One phase; the chunks of several matrices lie side by side."""
    matrices = [p.weights.matrices[name] for name in op.weights]
    quantized = [p.quantize(op.x, matrix) for matrix in matrices]
    p.flush()
    start, links, first = 0, [], 0
    for matrix, inputs, bias in zip(matrices, quantized, op.biases, strict=True):
        out = op.out.part(start, matrix.rows)
        residual = op.residual.part(start, matrix.rows) if op.residual else None
        chunks = parts(matrix, p.threads)
        links.append((first, chunks, matrix.kernel, _product(p, op.x, inputs, matrix, bias, out, residual, chunks)))
        start, first = start + matrix.rows, first + chunks
    _phase(p, links)
    p.writes(op.out)


def head_linear(p: Phases, op: ops.HeadLinear) -> None:
    """One phase; each slice has a matrix, and its activations by themselves."""
    stack = p.weights.matrices[op.weight]
    quantized = [p.quantize(x, stack) for x in op.x.views]
    p.flush()
    chunks, links = parts(stack, p.threads, stack.count), []
    for i, (x, out) in enumerate(zip(op.x.views, op.out.views, strict=True)):
        matrix = stack.part(i)
        links.append((i * chunks, chunks, matrix.kernel, _product(p, x, quantized[i], matrix, None, out, None, chunks)))
    _phase(p, links)
    p.writes(op.out.first)


def _phase(p: Phases, links: list[tuple[int, int, str, int]]) -> None:
    """Matrices side by side: (first chunk, chunks, kernel, arguments) each; more chunks of each for many rows (`kernels/product.py`, `share`)."""
    kernel, args = p.fan(links)
    p.phase(Phase(kernel, args, slots=1, share=SHARED, most=TURNS, turns=sum(chunks for _, chunks, _, _ in links), on_outputs=p.on_outputs))


def _product(p: Phases, x: ops.View, quantized: Quantized | None, matrix: Matrix, bias: str | None, out: ops.View, residual: ops.View | None, chunks: int) -> int:
    """The argument block of one matrix (`kernels/product.py` draws it)."""
    packing = matrix.packing
    if packing.kind == "code":
        assert quantized is not None
        blocks, inputs = matrix.cols // packing.cols, quantized.inputs(packing, p.isa)
    else:
        blocks, inputs = matrix.cols, (*p.at(x), 0)
    end = p.at(residual) if residual else (0, 0)
    return p.block(matrix.address, blocks, -(-matrix.rows // 16), chunks, *inputs, *p.at(out), matrix.rows, p.vector(bias), *end, p.rows(), matrix.raw)
