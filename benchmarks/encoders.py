"""The encoders of edgerun against llama.cpp's: errors and speed of every type on the same weights, as a table.

    python benchmarks/encoders.py [MODEL.gguf ...] [--types Q4_K IQ2_S] [--rows 96]

Weights are random (Student's t, 6 degrees of freedom, rows of different size) and, for each model, a sample of its matrices,
cut into rows of 1792. Errors are squared errors over squares; with importance both are weighted by it (log-normal, the same
for all). The peer is `ggml_quantize_chunk` of the libggml-base that llama-cpp-python brings, in this process; where it refuses to
work without importance it is given ones. Times are of the processor, one thread, with the machine code that large files are encoded with.
"""

from __future__ import annotations

import argparse
import ctypes
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from edgerun.formats import Format, all_formats, by_id, by_name
from edgerun.gguf import open_gguf
from quant.encoders import encoders

COLS = 1792
REFUSE = ("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS")   # what llama.cpp does not write without importance
MATRICES = ("attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up", "ffn_down")

Encode = Callable[[Format, np.ndarray, np.ndarray | None], np.ndarray]


def peer() -> Encode:
    """llama.cpp's encoder."""
    spec = find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise SystemExit("pip install llama-cpp-python==0.3.36")
    library = next(Path(spec.origin).parent.glob("lib/libggml-base*.so*"))
    chunk = ctypes.CDLL(str(library)).ggml_quantize_chunk
    chunk.restype = ctypes.c_size_t
    chunk.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]

    def encode(fmt: Format, x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
        if importance is None and fmt.name in REFUSE:
            importance = np.ones(x.shape[1], np.float32)
        out = np.zeros((len(x), fmt.row_bytes(x.shape[1])), np.uint8)
        chunk(fmt.id, x.ctypes.data, out.ctypes.data, 0, *x.shape, None if importance is None else importance.ctypes.data)
        return out

    return encode


def ours(fmt: Format, x: np.ndarray, importance: np.ndarray | None) -> np.ndarray:
    """edgerun's encoder."""
    return fmt.quantize(x, importance)


def random_weights(rows: int) -> np.ndarray:
    """Weights that nobody trained."""
    rng = np.random.default_rng(0)
    return (rng.standard_t(6, (rows, COLS)) * rng.lognormal(-3, 0.5, (rows, 1))).astype(np.float32)


def model_weights(path: Path, rows: int) -> np.ndarray:
    """A sample of a model's matrices: some rows of each kind, out of different layers."""
    tensors = open_gguf(path).tensors
    layers = sum(name.endswith(".attn_norm.weight") for name in tensors)
    names = [f"blk.{i * (layers - 1) // len(MATRICES)}.{kind}.weight" for i, kind in enumerate(MATRICES)]
    samples = []
    for tensor in (tensors[name] for name in names if name in tensors):
        x = by_id(tensor.type).dequantize(tensor.read()).reshape(-1)
        x = x[: x.size // COLS * COLS].reshape(-1, COLS)
        samples.append(x[np.linspace(0, len(x) - 1, rows // len(MATRICES)).astype(int)])
    return np.concatenate(samples)


def error(fmt: Format, rows: np.ndarray, x: np.ndarray, w: np.ndarray | float) -> float:
    """Weighted squared error over the weighted square."""
    x64 = x.astype(np.float64)
    return float((w * (fmt.dequantize(rows) - x64) ** 2).sum() / (w * x64**2).sum())


def timed(encode: Encode, fmt: Format, x: np.ndarray, importance: np.ndarray | None) -> tuple[np.ndarray, float]:
    """The encoded rows and million weights a second."""
    encode(fmt, x[:4], importance)   # tables are made at the first use
    start = time.process_time()
    rows = encode(fmt, x, importance)
    return rows, x.size / 1e6 / max(time.process_time() - start, 1e-9)


def lines(fmt: Format, sources: list[np.ndarray], theirs: Encode) -> Iterator[str]:
    """The cells of a type: for no importance and some, the error, its ratio for each source, both speeds."""
    weighed = np.random.default_rng(1).lognormal(0, 1, COLS).astype(np.float32)
    for importance in (None, weighed):
        w = 1.0 if importance is None else importance.astype(np.float64)
        ratios, speeds, first = [], [], 0.0
        for x in sources:
            (mine, my_speed), (other, other_speed) = timed(ours, fmt, x, importance), timed(theirs, fmt, x, importance)
            e, f = error(fmt, mine, x, w), error(fmt, other, x, w)
            ratios.append("=" if np.array_equal(mine, other) else f"{e / f:.3f}" if f else "-")
            speeds.append((my_speed, other_speed))
            first = first or e
        mine, other = np.mean(speeds, 0)
        yield f"{100 * first:.3g} % | {' '.join(ratios)} | {mine:.0f} / {other:.0f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--types", nargs="*", help="all but floats")
    parser.add_argument("--rows", type=int, default=96, help="of each source")
    args = parser.parse_args()
    types = [by_name(name) for name in args.types or ()] or [f for f in all_formats().values() if f.packing.kind == "code"]
    sources = [random_weights(args.rows), *(model_weights(path, args.rows) for path in args.models)]
    theirs = peer()
    print("| Type | Bits | Error | To llama.cpp's | M/s | Error, importance | To llama.cpp's | M/s |")
    print("|---|---|---|---|---|---|---|---|")
    with encoders(1 << 30):
        for fmt in sorted(types, key=lambda f: (-f.nbytes / f.block, f.name)):
            print(f"| {fmt.name} | {8 * fmt.nbytes / fmt.block:.4g} | {' | '.join(lines(fmt, sources, theirs))} |", flush=True)


if __name__ == "__main__":
    main()
