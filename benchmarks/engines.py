"""One engine in a process of its own, told line by line what to measure. Knows nothing of tables or of the other engine.

    python engines.py NAME MODEL --threads N [--kv TYPE] [--flash] [--buffers KIND]

Each line of standard input is a JSON object {"kind": "pp" or "tg", "tokens": n, "depth": d}; the answer is one line with
{"seconds": s}, or with what the engine is when it is ready. Tokens are random but the same for both engines; what comes
before `depth` is in memory already and does not count.

Buffers are those that llama.cpp keeps weights in: its "default"; "repacked", what is left of the default where the system refuses AMX to the
process, so that weights are repacked for AVX; "plain", the file's mapping alone.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import struct
import sys
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np

CONTEXT = 4096
CHUNK = 512   # rows of prompt per call, for both
BUFFERS = ("default", "repacked", "plain")
KV = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}   # of key/value memory, as ggml numbers types


def refuse_amx() -> None:
    """Have Linux refuse this process the tiles of AMX, when it asks for them: arch_prctl(ARCH_REQ_XCOMP_PERM) gives EPERM from now on.

    By seccomp's filter (linux/seccomp.h, linux/filter.h): struct sock_filter is u16 code, u8 jump if true, u8 if false, u32 k.
    """
    load, equal, give, arch_prctl, request, allow, refuse = 0x20, 0x15, 0x06, 158, 0x1023, 0x7FFF0000, 0x00050001
    program = [(load, 0, 0, 0), (equal, 0, 3, arch_prctl), (load, 0, 0, 16), (equal, 0, 1, request), (give, 0, 0, refuse), (give, 0, 0, allow)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None)
    no_new_privileges, set_seccomp, by_filter = 38, 22, 2
    failed = libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, by_filter, header)
    assert not failed, "Linux gives no filter"


class Engine(Protocol):
    """What both engines do: evaluate tokens at a position, with logits for the last of them."""

    def describe(self) -> dict[str, Any]:
        """Name, version, settings; what a token of a prompt reads and multiplies where that is known."""
        ...

    def evaluate(self, tokens: Sequence[int], position: int) -> int:
        """Put at most CHUNK tokens at `position`, forgetting what was there and behind it; the likeliest next token."""
        ...


class Edgerun:
    """This project's CPU backend, through the public `load`."""

    def __init__(self, path: str, threads: int, kv: str) -> None:
        import edgerun
        from edgerun.backends.executor import Batch

        self._llm = edgerun.load(path, context=CONTEXT, threads=threads, kv=kv)
        self._executor, self._batch = self._llm.session.executor, Batch
        self._table = np.arange(self._executor.pages, dtype=np.int32)[None]

    def describe(self) -> dict[str, Any]:
        """See `Engine`."""
        import edgerun
        from edgerun.bench.work import Work

        isa = getattr(self._executor, "isa", None)
        return {
            "engine": "edgerun", "version": edgerun.__version__, "isa": getattr(isa, "name", None), "threads": self._llm.threads.count,
            "bytes_per_token": self._llm.plan.weights, "memory": self._llm.plan.total,
            "macs_per_token": Work.of(self._llm.program, self._llm.plan, self._executor.pages).body,
        }  # fmt: skip

    def evaluate(self, tokens: Sequence[int], position: int) -> int:
        """See `Engine`."""
        n = len(tokens)
        batch = self._batch(
            tokens=np.array(tokens, np.int32),
            positions=np.arange(position, position + n, dtype=np.int32),
            sequences=np.zeros(n, np.int32),
            tables=self._table,
            outputs=np.array([n - 1], np.int32),
        )
        return int(self._executor.step(batch)[0].argmax())


class LlamaCpp:
    """llama.cpp through the C interface of llama-cpp-python."""

    def __init__(self, path: str, threads: int, kv: str, flash: bool, buffers: str) -> None:
        import llama_cpp

        if buffers == "repacked":
            refuse_amx()
        self._c, self._flash, self._threads, self._buffers = llama_cpp, flash, threads, buffers
        self._quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)   # kept: C holds only its address
        llama_cpp.llama_log_set(self._quiet, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        settings = llama_cpp.llama_model_default_params()
        settings.use_extra_bufts = buffers != "plain"
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), settings)
        assert self._model, f"llama.cpp cannot load {path}"
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = CONTEXT, CHUNK, CHUNK
        options.n_threads = options.n_threads_batch = threads
        options.flash_attn_type = int(flash)
        options.type_k = options.type_v = KV[kv]
        self._context = llama_cpp.llama_init_from_model(self._model, options)
        assert self._context, "llama.cpp makes no context"
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))

    def describe(self) -> dict[str, Any]:
        """See `Engine`."""
        return {
            "engine": "llama.cpp", "version": self._c.__version__, "flash": self._flash, "threads": self._threads,
            "buffers": self._buffers, "system": self._c.llama_print_system_info().decode().strip(),
        }  # fmt: skip

    def evaluate(self, tokens: Sequence[int], position: int) -> int:
        """See `Engine`."""
        self._c.llama_memory_seq_rm(self._memory, 0, position, -1)
        array = (ctypes.c_int32 * len(tokens))(*tokens)   # kept until the call is over
        failed = self._c.llama_decode(self._context, self._c.llama_batch_get_one(array, len(tokens)))
        assert not failed, f"llama_decode gave {failed}"
        logits = self._c.llama_get_logits_ith(self._context, -1)
        return int(np.ctypeslib.as_array(logits, (self._n_vocab,)).argmax())


class Bench:
    """Measures an engine. What is in its memory is remembered, so that a depth is filled once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._filled = 0
        # Ids that are ordinary tokens in every vocabulary of the catalogue.
        self._tokens: list[int] = np.random.default_rng(0).integers(1000, 20000, CONTEXT).tolist()

    def measure(self, kind: str, tokens: int, depth: int) -> float:
        """Seconds for a prompt of `tokens` ("pp"), or for as many tokens one after another ("tg"), behind `depth` others."""
        if self._filled != depth:
            self._run(0, depth, CHUNK)
        begun = perf_counter()
        self._run(depth, tokens, CHUNK if kind == "pp" else 1)
        seconds = perf_counter() - begun
        self._filled = depth
        return seconds

    def _run(self, start: int, count: int, step: int) -> None:
        stop = start + count
        for at in range(start, stop, step):
            self._engine.evaluate(self._tokens[at : min(at + step, stop)], at)
        self._filled = stop


def serve(bench: Bench, answer: Callable[[dict[str, Any]], None]) -> None:
    """Measure what standard input asks for until it ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        answer({"seconds": bench.measure(asked["kind"], asked["tokens"], asked["depth"])})


def main() -> None:
    """Load the engine, say what it is, serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=["edgerun", "llama.cpp"])
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kv", choices=KV, default="f16")
    parser.add_argument("--flash", action="store_true")
    parser.add_argument("--buffers", choices=BUFFERS, default="default")
    options = parser.parse_args()
    engine: Engine = (
        Edgerun(options.model, options.threads, options.kv)
        if options.name == "edgerun"
        else LlamaCpp(options.model, options.threads, options.kv, options.flash, options.buffers)
    )

    def answer(value: dict[str, Any]) -> None:
        print(json.dumps(value), flush=True)

    bench = Bench(engine)
    bench.measure("pp", CHUNK, 0)   # touch all weights, and find out whether it works at all
    bench.measure("tg", 2, 0)
    answer(engine.describe())
    serve(bench, answer)


if __name__ == "__main__":
    main()
