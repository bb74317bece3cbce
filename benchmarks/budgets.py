"""`edgerun quantize --fit` against llama.cpp's Q4_K_M at the same size, with the same importance matrix: what both lost, as a table row each.

    python benchmarks/budgets.py SmolLM2-135M-Instruct.Q4_1.gguf [...] --work DIR [--recipe Q4_K_M] [--windows 16] [--context 512]

The source is the model given, dequantized to F16. A file that was quantized once has its weights on a grid, which the search for types would
find again; so each weight is moved by a random part of half a step, which makes a model of as many real bits. `--keep` leaves that out.
Texts are Python's reference in turns of 16,000 characters: three to measure by, one to judge by. The importance matrix is edgerun's, of the source in
Q8_0, over 8 windows. Everything is kept in DIR and not made twice.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from edgerun.formats import by_id
from edgerun.gguf import open_gguf
from edgerun.gguf.writer import GGUFWriter
from quant.calibration import default_text
from quant.edit import copy_metadata
from quant.importance import Importance
from quant.recipes import RECIPES, quantizable

BLOCK = 16       # weights that have a scale of their own, at least
TURN = 16_000    # characters
CHUNKS = 8       # windows of the importance matrix
HELD = 4         # of so many turns the last is judged


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def QUIET(level: int, text: bytes, data: object) -> None:
    """Say nothing."""


def edgerun(*arguments: object) -> str:
    """What a command prints."""
    done = subprocess.run([sys.executable, "-m", "edgerun", *map(str, arguments)], stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout


def source(path: Path, out: Path, keep: bool) -> None:
    """The model in F16, off its grid."""
    rng = np.random.default_rng(1)
    with open_gguf(path) as file, GGUFWriter(out) as writer:
        copy_metadata(file.metadata, writer)
        for name, tensor in file.tensors.items():
            if not quantizable(name, tensor.shape):
                writer.add_tensor(name, tensor.read().reshape(-1).data, tensor.type, tensor.shape)
                continue
            x = by_id(tensor.type).dequantize(tensor.read())
            if not keep:
                x = x + steps(x) * rng.uniform(-0.5, 0.5, x.shape).astype(np.float32)
            writer.add_tensor(name, x.astype(np.float16).reshape(tensor.shape))


def steps(x: np.ndarray) -> np.ndarray:
    """How far weights of a block lie apart, at least, in the shape of x."""
    blocks = np.sort(x.reshape(-1, BLOCK), 1)
    gaps = np.diff(blocks, axis=1)
    gaps[gaps <= 1e-6 * np.abs(blocks).max(1, keepdims=True)] = np.inf
    least = gaps.min(1)
    return np.repeat(np.where(np.isfinite(least), least, 0), BLOCK).reshape(x.shape).astype(np.float32)


def texts(folder: Path) -> tuple[Path, Path]:
    """To measure by, and to judge by."""
    whole, parts = default_text(), {"measured.txt": "", "judged.txt": ""}
    for turn in range(0, len(whole), TURN):
        parts["judged.txt" if turn // TURN % HELD == HELD - 1 else "measured.txt"] += whole[turn : turn + TURN]
    for name, text in parts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "measured.txt", folder / "judged.txt"


def peer(path: Path, out: Path, recipe: str, importance: Importance) -> None:
    """llama.cpp's file."""
    import llama_cpp as llama

    llama.llama_log_set(QUIET, None)
    llama.llama_backend_init()
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.nthread = RECIPES[recipe].file_type, 2
    means = {name: np.ascontiguousarray(importance[name], np.float32).reshape(-1) for name in importance}
    pointer = ctypes.POINTER(ctypes.c_float)
    rows = [llama.llama_model_imatrix_data(name.encode(), x.ctypes.data_as(pointer), x.size) for name, x in means.items()]
    params.imatrix = (llama.llama_model_imatrix_data * (len(rows) + 1))(*rows, llama.llama_model_imatrix_data(None, None, 0))
    if llama.llama_model_quantize(str(path).encode(), str(out).encode(), ctypes.byref(params)):
        raise SystemExit(f"llama.cpp could not write {out}")


def judged(path: Path, base: Path, text: Path, windows: int, context: int) -> dict[str, float]:
    """What a file lost; kept beside it."""
    kept = path.with_name(f"{path.name}.{windows}x{context}.json")
    if not kept.exists():
        kept.write_text(edgerun("compare", path, base, "-f", text, "--chunks", windows, "-c", context, "-o", "json", "-q"))
    found: dict[str, float] = json.loads(kept.read_text())["divergence"]
    return found


def row(path: Path, folder: Path, recipe: str, windows: int, context: int, keep: bool, more: list[str]) -> str:
    """The table row of a model."""
    stem = path.stem + ("-kept" if keep else "")
    base, matrix, theirs, ours = (folder / f"{stem}{end}" for end in ("-f16.gguf", "-imatrix.gguf", f"-{recipe}.gguf", f"-fit-{recipe}.gguf"))
    measured, judge = texts(folder)
    if not base.exists():
        source(path, base, keep)
    if not matrix.exists():
        large = folder / f"{stem}-Q8_0.gguf"
        edgerun("quantize", base, large, "Q8_0", "-q", "--force")
        edgerun("imatrix", "-m", large, "-f", measured, "-o", matrix, "--chunks", CHUNKS, "-q")
        large.unlink()
    if not theirs.exists():
        peer(base, theirs, recipe, Importance.read(matrix))
    seconds = ""
    if not ours.exists():
        began = time.perf_counter()
        print(edgerun("quantize", base, ours, "--fit", theirs.stat().st_size, "--imatrix", matrix, "-f", measured, *more), file=sys.stderr)
        seconds = f"{time.perf_counter() - began:.0f} s"
    a, b = (judged(path, base, judge, windows, context) for path in (theirs, ours))
    cells = [
        stem,
        f"{theirs.stat().st_size / 1e6:.1f} / {ours.stat().st_size / 1e6:.1f} MB",
        f"{a['mean']:.4f} ± {a['mean_error']:.4f}",
        f"{b['mean']:.4f} ± {b['mean_error']:.4f}",
        f"{100 * (1 - b['mean'] / a['mean']):.0f} %",
        f"{100 * a['same_top']:.1f} / {100 * b['same_top']:.1f} %",
        f"{a['perplexity_ratio']:.4f} / {b['perplexity_ratio']:.4f}",
        seconds,
    ]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--recipe", default="Q4_K_M", choices=list(RECIPES))
    parser.add_argument("--windows", type=int, default=16)
    parser.add_argument("--context", type=int, default=512, help="tokens of a window")
    parser.add_argument("--keep", action="store_true")
    args, more = parser.parse_known_args()
    args.work.mkdir(parents=True, exist_ok=True)
    print("| Source (F16) | Size, llama.cpp's / ours | llama.cpp, nats | `--fit`, nats | Less | Same top token | Perplexity, of the source's | Took |")
    print("|---|---|---|---|---|---|---|---|")
    for path in args.models:
        print(row(path, args.work, args.recipe, args.windows, args.context, args.keep, more), flush=True)


if __name__ == "__main__":
    main()
