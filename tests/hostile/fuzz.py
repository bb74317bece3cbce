"""Fuzzes everything that reads a model file: the reader, and, for small files, the spec, the program, the tokenizer and the template.

    python tests/hostile/fuzz.py -n 100000 [-j PROCESSES] [-s SEED] [FILE...]

Files are mutated from small generated ones and from the headers of FILE... . Each must be accepted, or be refused by an
EdgerunError with one printable line, within 2 s of CPU time and 64 MB of memory more than the file is large. Ends with 1
when one is not; that file is kept.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from mutations import Seed, mutate, seed_from
from seeds import every_type, tiny_llama

from edgerun.errors import EdgerunError
from edgerun.gguf import GGUF, open_gguf

MEMORY = 64 << 20   # more than the file's own size
SECONDS = 2.0       # of CPU time
WALL = 30.0         # the machine may be busy, but nothing waits for ever
SMALL = 1 << 20     # files up to this size go through every stage


Stages = list[tuple[str, Callable[[GGUF], None]]]


class Hang(BaseException):
    """Raised by the timers; a BaseException, so that nobody handles it by mistake."""


@dataclass
class Result:
    """What a run has seen."""

    accepted: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    messages: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")   # seconds of CPU, file
    memory: int = 0   # most bytes for one file
    excess: int = 0   # most bytes over a file's own size

    def add(self, other: Result) -> None:
        self.accepted += other.accepted
        self.rejected += other.rejected
        self.messages += other.messages
        self.failures += other.failures
        self.slowest = max(self.slowest, other.slowest)
        self.memory = max(self.memory, other.memory)
        self.excess = max(self.excess, other.excess)


# ----------------------------------------------------------------------------------------------------------------------
# What a file goes through


def read_all(model: GGUF) -> None:
    """Decode every value and read every tensor, a megabyte of each at most."""
    for key in model.metadata:
        model.metadata[key]
    for tensor in model.tensors.values():
        tensor.read(0, min(tensor.rows, (1 << 20) // (tensor.nbytes // tensor.rows)))


def make_program(model: GGUF) -> None:
    from edgerun.formats import by_id
    from edgerun.graph.lower import lower
    from edgerun.models import spec_from

    def values(name: str) -> Any:
        tensor = model.tensors[name]
        return by_id(tensor.type).dequantize(tensor.read())

    shapes = {name: tensor.shape for name, tensor in model.tensors.items()}
    lower(spec_from(model.metadata, shapes, values), shapes)


def make_tokenizer(model: GGUF) -> None:
    from edgerun.text.tokenizer import tokenizer_from

    tokenizer = tokenizer_from(model.metadata)
    tokenizer.decode(tokenizer.encode("Hello abc <s> \U0001f600\n\n  12345", parse_special=True))


def render_template(model: GGUF) -> None:
    from edgerun.text.template import template_for
    from edgerun.text.tokenizer import tokenizer_from

    template, _ = template_for(model.metadata, tokenizer_from(model.metadata))
    template.render([{"role": "user", "content": "Hello"}])


def stages() -> Stages:
    """What can be imported today. Imports now what the stages import, so that it does not count as a file's memory."""
    found: Stages = [("read", read_all)]
    for name, stage, modules in (
        ("program", make_program, ("edgerun.models", "edgerun.graph.lower", "edgerun.formats")),
        ("tokenizer", make_tokenizer, ("edgerun.text.tokenizer",)),
        ("template", render_template, ("edgerun.text.tokenizer", "edgerun.text.template")),
    ):
        try:
            for module in modules:
                __import__(module)
        except ImportError:
            continue
        found.append((name, stage))
    return found


# ----------------------------------------------------------------------------------------------------------------------
# One file under watch


def _hang(number: int, frame: FrameType | None) -> None:
    raise Hang


class Memory:
    """This process's memory as Linux tells it; zeros elsewhere."""

    def __init__(self) -> None:
        try:
            self.status = os.open("/proc/self/status", os.O_RDONLY)
            self.references = os.open("/proc/self/clear_refs", os.O_WRONLY)
        except OSError:
            self.status = -1

    def read(self, name: bytes) -> int:
        """VmSize, VmRSS or VmHWM (the peak since `reset`) in bytes."""
        if self.status < 0:
            return 0
        return int(os.pread(self.status, 4096, 0).partition(name + b":")[2].split(None, 1)[0]) << 10

    def reset(self) -> int:
        """Start a new peak; returns what is resident now."""
        if self.status >= 0:
            os.write(self.references, b"5")
        return self.read(b"VmRSS")


class Watch:
    """Limits time and memory of what runs inside it."""

    def __init__(self, memory: Memory, allowance: int) -> None:
        self.memory = memory
        self.allowance = allowance
        self.limits = resource.getrlimit(resource.RLIMIT_AS)

    def __enter__(self) -> None:
        if used := self.memory.read(b"VmSize"):
            resource.setrlimit(resource.RLIMIT_AS, (used + self.allowance, self.limits[1]))
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.setitimer(signal.ITIMER_REAL, WALL)

    def __exit__(self, *error: object) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, self.limits)


def check(path: Path, todo: Stages, result: Result, memory: Memory) -> str | None:
    """Push one file through; returns what went wrong."""
    size = path.stat().st_size
    before, started = memory.reset(), time.process_time()
    problem = _check(path, size, todo, result, memory)
    result.slowest = max(result.slowest, (time.process_time() - started, path.name))
    used = memory.read(b"VmHWM") - before
    result.memory = max(result.memory, used)
    result.excess = max(result.excess, used - size)
    return problem


def _check(path: Path, size: int, todo: Stages, result: Result, memory: Memory) -> str | None:
    stage = "open"
    try:
        with Watch(memory, size + MEMORY), open_gguf(path) as model:
            result.accepted[stage] += 1
            for stage, run in todo if size <= SMALL else todo[:1]:
                try:
                    run(model)
                    result.accepted[stage] += 1
                except EdgerunError as error:
                    result.rejected[stage] += 1
                    _note(error, result)
    except EdgerunError as error:
        result.rejected[stage] += 1
        return _note(error, result)
    except Hang:
        return f"{stage}: took longer than {SECONDS:g} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return f"{stage}: {''.join(traceback.format_exception(error)[-4:])}"
    return None


def _note(error: EdgerunError, result: Result) -> str | None:
    message = str(error)
    template = re.sub(r"'[^']*'|\d+|\[.*?\]", "*", message.partition(": ")[2] or message)
    result.messages[template[:100]] += 1
    return None if message.isprintable() and len(message) < 600 else f"unfit message: {ascii(message)[:1000]}"


# ----------------------------------------------------------------------------------------------------------------------
# Many files


def small_seeds(folder: Path) -> list[Seed]:
    for tokenizer in ("llama", "gpt2"):
        tiny_llama(folder / f"{tokenizer}.gguf", tokenizer, 3, layers=1)
    every_type(folder / "types.gguf", 64)
    return [seed_from(path) for path in sorted(folder.glob("*.gguf"))]


def fuzz(numbers: range, seed: int, files: list[Path], keep: Path) -> Result:
    """Check the files of these numbers; each depends on its number and `seed` only."""
    for timer in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(timer, _hang)
    result = Result()
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as name:
        folder = Path(name)
        seeds = small_seeds(folder) + [seed_from(path) for path in files]
        small, large = ([s for s in seeds if (len(s.head) > SMALL) == big] for big in (False, True))
        todo = stages()
        memory = Memory()
        for number in numbers:
            rng = random.Random(f"{seed}:{number}")
            origin = rng.choice(large) if large and rng.random() < 0.1 else rng.choice(small)
            head, tail = mutate(origin, small, rng)
            path = folder / f"fuzz-{seed}-{number}.gguf"
            path.write_bytes(head)
            os.truncate(path, len(head) + tail)
            problem = check(path, todo, result, memory)
            if problem:
                kept = keep / path.name
                shutil.copyfile(path, kept)
                result.failures.append(f"{kept}: {problem}")
            path.unlink()
    return result


def _work(connection: Any, *arguments: Any) -> None:
    connection.send(fuzz(*arguments))


def fuzz_in_processes(count: int, processes: int, seed: int, files: list[Path], keep: Path) -> Result:
    """As `fuzz`, spread over processes; one that dies is a failure too."""
    context = multiprocessing.get_context("spawn")
    jobs = []
    for i in range(processes):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(theirs, range(i, count, processes), seed, files, keep))
        process.start()
        theirs.close()
        jobs.append((process, ours))
    total = Result()
    for process, connection in jobs:
        try:
            total.add(connection.recv())
        except EOFError:
            process.join()
            total.failures.append(f"a process died with {process.exitcode}")
        process.join()
    return total


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Fuzz the reading of model files.")
    parser.add_argument("-n", type=int, default=1000, help="files to try")
    parser.add_argument("-j", type=int, default=1, help="processes")
    parser.add_argument("-s", type=int, default=0, help="seed")
    parser.add_argument("-v", action="store_true", help="list the kinds of messages")
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="real models, whose headers are mutated too")
    options = parser.parse_args()
    started = time.monotonic()
    result = fuzz_in_processes(options.n, options.j, options.s, options.files, Path(tempfile.gettempdir()))
    if options.v:
        for message, times in result.messages.most_common():
            print(f"{times:7} {message}")
    for stage in sorted(result.accepted | result.rejected):
        print(f"{stage:10} accepted {result.accepted[stage]:7}  rejected {result.rejected[stage]:7}")
    print(f"{options.n} files in {time.monotonic() - started:.0f} s, {len(result.messages)} kinds of messages, {len(result.failures)} failures")
    print(f"most memory for a file {result.memory / 1e6:.1f} MB, over its size {result.excess / 1e6:.1f} MB")
    print(f"slowest file {result.slowest[1]}: {result.slowest[0]:.3f} s of CPU")
    for failure in result.failures[:20]:
        print("FAILED", failure, file=sys.stderr)
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
