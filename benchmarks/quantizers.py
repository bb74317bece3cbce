"""Whole files by both quantizers: the same types, the same importance, and what each file lost, as a table.

    python benchmarks/quantizers.py MODEL.gguf -f TEXT [TEXT ...] --imatrix FILE [--types Q4_K IQ3_S] [--folder FOLDER] [--positions 1024]

MODEL is a model in 16 or 32 bits. The matrices of its layers whose rows fill a type's blocks get that type, all else stays as it is,
so that the figures are the type's own. The peer is `llama_model_quantize` of llama-cpp-python, with the same importance.

Error: squared errors over squares, both weighted by importance, over all these matrices. KL: the mean divergence of the file's
predictions from MODEL's over windows from all over the texts, in turn, both computed in float32 from dequantized weights. Ratios are
ours over theirs, ± the standard error of the difference; `=` are equal bytes. Runs there: whether llama.cpp loads our file and predicts numbers with it.
"""

from __future__ import annotations

import argparse
import ctypes
import math
import re
from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import numpy as np

import edgerun
from edgerun.formats import all_formats, by_id, by_name
from edgerun.gguf import GGUF, open_gguf
from quant.encoders import encoders
from quant.importance import Importance
from quant.plan import Choices, Plan
from quant.quantize import quantize
from quant.recipes import RECIPES, quantizable

MADE_FOR = ("Q1_0", "Q2_0", "TQ1_0", "TQ2_0", "MXFP4", "NVFP4")   # models that were trained in them
CHARACTERS = 100_000   # that are read of a text


def chosen(file: GGUF, kind: str) -> list[str]:
    """The matrices that get the type."""
    block = by_name(kind).block
    return [n for n, t in file.tensors.items() if n.startswith("blk.") and quantizable(n, t.shape) and t.shape[-1] % block == 0]


def peer(source: Path, out: Path, types: dict[str, str], importance: Importance | None) -> None:
    """The file by llama.cpp; types: of each matrix."""
    lib, kept = llama_cpp.llama_cpp, []
    params = lib.llama_model_quantize_default_params()
    params.nthread, params.ftype = 1, lib.LLAMA_FTYPE_MOSTLY_Q8_0   # one under which what is asked for each tensor counts
    params.output_tensor_type = params.token_embedding_type = _own(source)
    rows = (lib.llama_model_tensor_override * (len(types) + 1))()
    for at, (name, kind) in enumerate(types.items()):
        rows[at].pattern, rows[at].type = f"^{re.escape(name)}$".encode(), by_name(kind).id
    params.tt_overrides = ctypes.cast(rows, ctypes.POINTER(lib.llama_model_tensor_override))
    if importance is not None:
        data = (lib.llama_model_imatrix_data * (len(importance) + 1))()
        for at, name in enumerate(importance):
            values = np.ascontiguousarray(importance[name], np.float32).reshape(-1)
            kept.append(values)
            data[at].name, data[at].data, data[at].size = name.encode(), values.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), values.size
        params.imatrix = ctypes.cast(data, ctypes.POINTER(lib.llama_model_imatrix_data))
    if lib.llama_model_quantize(str(source).encode(), str(out).encode(), ctypes.byref(params)):
        raise SystemExit(f"llama.cpp could not write {out}")


def _own(source: Path) -> int:
    with open_gguf(source) as file:
        return file.tensors["token_embd.weight"].type


def ours(source: Path, out: Path, like: Path, importance: Importance | None) -> None:
    """The file by edgerun; like: where to take each tensor's type from."""
    with open_gguf(source) as file, open_gguf(like) as other, encoders(sum(math.prod(t.shape) for t in file.tensors.values())):
        wanted = tuple((re.compile(f"^{re.escape(n)}$"), t.type_name) for n, t in other.tensors.items())
        plan = Plan.of(file, RECIPES["F16"], Choices(overrides=wanted), measured=importance is not None)
        assert all(row.type == other.tensors[row.tensor.name].type_name for row in plan.rows), "the two files do not have the same types"
        quantize(file, plan, out, importance=importance, threads=1)


def error(source: GGUF, made: GGUF, names: list[str], importance: Importance | None) -> float:
    """Weighted squared error over the weighted square, of these matrices together."""
    lost = there = 0.0
    for name in names:
        tensor = source.tensors[name]
        x = by_id(tensor.type).dequantize(tensor.read()).astype(np.float64)
        y = by_id(made.tensors[name].type).dequantize(made.tensors[name].read())
        found = importance.of(name, tensor.shape) if importance else None
        w = 1.0 if found is None else np.repeat(found.astype(np.float64), len(x) // len(found), 0)
        lost, there = lost + float((w * (y - x) ** 2).sum()), there + float((w * x**2).sum())
    return lost / there


class Judge:
    """The source's predictions over a text, and how far another file's are from them."""

    def __init__(self, source: Path, texts: list[str], positions: int, window: int) -> None:
        self.context = window
        with edgerun.load(source, context=window, numerics="exact", kv="f32", threads=1) as llm:
            self.windows = spread([llm.tokenizer.encode(text[:CHARACTERS]) for text in texts], positions // window, window)
            self.predictions = [predictions(llm.logits(window)) for window in self.windows]

    def kl(self, path: Path) -> np.ndarray:
        """At each position, in nats."""
        with edgerun.load(path, context=self.context, numerics="exact", kv="f32", threads=1) as llm:
            found: list[float] = []
            for window, p in zip(self.windows, self.predictions, strict=True):
                for a, b in zip(p, predictions(llm.logits(window)), strict=True):
                    a64 = a.astype(np.float64)
                    found.append(float(np.exp(a64) @ (a64 - b)))
        return np.array(found)


def spread(texts: list[list[int]], count: int, size: int) -> list[list[int]]:
    """So many windows of that size, from each text in turn, from all over it."""
    windows = []
    for at, ids in enumerate(texts):
        mine = len(range(at, count, len(texts)))
        windows.append([ids[start : start + size] for start in np.linspace(0, max(len(ids) - size, 0), mine).astype(int)])
    return [windows[at % len(texts)][at // len(texts)] for at in range(count)]


def predictions(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities, float32 [positions, n_vocab]."""
    x = logits - logits.max(1, keepdims=True)
    x -= np.log(np.exp(x).sum(1, keepdims=True, dtype=np.float64)).astype(np.float32)
    return x


def runs(path: Path, ids: list[int]) -> bool:
    """Whether llama.cpp loads the file and predicts numbers."""
    lib = llama_cpp.llama_cpp
    params, wanted = lib.llama_model_default_params(), lib.llama_context_default_params()
    params.use_extra_bufts, params.n_gpu_layers = False, 0
    wanted.n_ctx, wanted.n_threads = 64, 1
    model = lib.llama_model_load_from_file(str(path).encode(), params)
    if not model:
        return False
    context = lib.llama_init_from_model(model, wanted)
    tokens = (ctypes.c_int32 * len(ids))(*ids)
    failed = lib.llama_decode(context, lib.llama_batch_get_one(tokens, len(ids)))
    logits = np.ctypeslib.as_array(lib.llama_get_logits(context), (lib.llama_vocab_n_tokens(lib.llama_model_get_vocab(model)),))
    sound = not failed and bool(np.isfinite(logits).all())
    lib.llama_free(context)
    lib.llama_model_free(model)
    return sound


def same(a: Path, b: Path) -> bool:
    """Whether all tensors are the same bytes."""
    with open_gguf(a) as one, open_gguf(b) as other:
        return all(np.array_equal(t.read(), other.tensors[n].read()) for n, t in one.tensors.items())


def row(kind: str, source: Path, folder: Path, importance: Importance | None, judge: Judge) -> str:
    """The cells of a type."""
    mine, other = folder / f"ours-{kind}.gguf", folder / f"theirs-{kind}.gguf"
    with open_gguf(source) as file:
        names = chosen(file, kind)
        own = {n: t.type_name for n, t in file.tensors.items() if quantizable(n, t.shape)}
        if not names:
            return "- | - | - | - | - | - | -"
        peer(source, other, own | dict.fromkeys(names, kind), importance)
        ours(source, mine, other, importance)
        with open_gguf(mine) as a, open_gguf(other) as b:
            assert all(t.type_name == kind for n, t in b.tensors.items() if n in names), f"llama.cpp did not take {kind}"
            e, f = error(file, a, names, importance), error(file, b, names, importance)
    k, m = judge.kl(mine), judge.kl(other)
    equal = same(mine, other)
    loads = "yes" if runs(mine, judge.windows[0][:32]) else "NO"
    mine.unlink(), other.unlink()
    spread = (k - m).std(ddof=1) / len(k) ** 0.5 / m.mean()
    ratio = ("=", "=") if equal else (f"{e / f:.3f}", f"{k.mean() / m.mean():.3f} ± {spread:.3f}")
    return f"{len(names)} | {100 * e:.4g} % | {ratio[0]} | {k.mean():.5f} | {m.mean():.5f} | {ratio[1]} | {loads}"


def lines(args: argparse.Namespace) -> Iterator[str]:
    """The table."""
    importance = Importance.read(args.imatrix) if args.imatrix else None
    judge = Judge(args.model, [path.read_text(encoding="utf-8") for path in args.texts], args.positions, args.window)
    known = [f for f in all_formats().values() if f.packing.kind == "code" and f.name not in MADE_FOR]
    names = args.types or [f.name for f in sorted(known, key=lambda f: (-f.nbytes / f.block, f.name))]
    yield f"{args.model.name}, {sum(map(len, judge.windows))} positions, {'importance' if importance else 'no importance'}\n"
    yield "| Type | Matrices | Error | Ratio | KL | llama.cpp's | Ratio | Runs there |"
    yield "|---|---|---|---|---|---|---|---|"
    for name in names:
        yield f"| {name} | {row(name, args.model, args.folder, importance, judge)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("-f", dest="texts", type=Path, nargs="+", required=True)
    parser.add_argument("--imatrix", type=Path)
    parser.add_argument("--types", nargs="*", help=f"all but floats and {', '.join(MADE_FOR)}")
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--positions", type=int, default=1024)
    parser.add_argument("--window", type=int, default=512, help="positions that are read together")
    callback = llama_cpp.llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_cpp.llama_log_set(callback, ctypes.c_void_p())
    for line in lines(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
