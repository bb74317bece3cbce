"""edgerun against llama.cpp on the same model file, on this machine: medians of interleaved rounds, and their ratios.

    python benchmarks/vs_llama_cpp.py MODEL.gguf [--threads 1 2] [--tests tg64 pp512] [--depths 0 2048] [--kv q8_0]
                           [--rounds 5] [--json FILE]

Each engine lives in a process of its own (`engines.py`) and measures one case at a time while the others sleep; within a
case the engines take turns, in another order each round, and the machine's own limit is measured in turn with them, so that a disturbance
meets them all. The peer is run with and without flash attention, and where it crashes with its default weight buffers, with all the others (`engines.py`):
its best figure counts.
Progress goes to stderr. `benchmarks/README.md` says how to read the result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from engines import BUFFERS

from edgerun.backends.cpu import ceilings

TESTS = ("tg64", "pp128", "pp512")
ENGINES = Path(__file__).with_name("engines.py")


class Died(Exception):
    """The process of an engine ended before it answered; `code` is its exit status, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit status {code}")
        self.code = code


class Child:
    """An engine in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        """Start it and wait until it is ready; Died when it does not get there."""
        command = [sys.executable, str(ENGINES), *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self._answer()

    def seconds(self, kind: str, tokens: int, depth: int) -> float:
        """How long one case took."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"kind": kind, "tokens": tokens, "depth": depth}) + "\n")
        self._process.stdin.flush()
        return float(self._answer()["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise Died(self._process.wait())
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.wait()


@dataclass
class Case:
    """One thing measured: tokens per second of each round, by engine; `peer` names its best setting.

    limits: what the machine could do in each round: bytes read per second where tokens come one by one, else multiplications.
    """

    kind: str
    tokens: int
    depth: int
    threads: int
    rounds: dict[str, list[float]] = field(default_factory=dict)
    limits: list[float] = field(default_factory=list)

    @property
    def name(self) -> str:
        """As llama.cpp's own benchmark calls it: tg64 @ 2048."""
        return f"{self.kind}{self.tokens}" + (f" @ {self.depth}" if self.depth else "")

    def median(self, engine: str) -> float:
        """Tokens per second."""
        return statistics.median(self.rounds[engine])

    @property
    def peer(self) -> str:
        """The peer's best setting."""
        return max((name for name in self.rounds if name != "edgerun"), key=self.median)

    @property
    def ratio(self) -> float:
        """How many times as fast edgerun is."""
        return self.median("edgerun") / self.median(self.peer)

    def share(self, about: dict[str, Any]) -> float:
        """Of the limit, for an engine that reads and multiplies so much for a token."""
        return self.median("edgerun") * about["bytes_per_token" if self.kind == "tg" else "macs_per_token"] / statistics.median(self.limits)


def peer(model: str, threads: int, kv: str, flash: bool, buffers: str) -> Child:
    """llama.cpp; Died where it crashes with these buffers."""
    return Child("llama.cpp", model, "--threads", str(threads), "--kv", kv, *["--flash"] * flash, "--buffers", buffers)


def working_buffers(model: str) -> list[str]:
    """llama.cpp's default weight buffers; where it crashes with them, all others with which it does not."""
    working = []
    for buffers in BUFFERS:
        try:
            with peer(model, 1, "f16", flash=False, buffers=buffers):
                working.append(buffers)
            if buffers == BUFFERS[0]:
                break
        except Died as death:
            if death.code >= 0:
                raise SystemExit("llama.cpp does not run (see above); install it with: pip install llama-cpp-python==0.3.36") from None
            say(f"llama.cpp dies with {buffers} weight buffers ({death})")
    return working or sys.exit("llama.cpp crashes whatever its weight buffers")


def measure(model: str, threads: int, options: argparse.Namespace, buffers: list[str]) -> tuple[list[Case], dict[str, Any]]:
    """All cases with this many threads, and what the engines say of themselves."""
    cases = [Case(test[:2], int(test[2:]), depth, threads) for depth in options.depths for test in options.tests]
    order = random.Random(0)   # whose turn comes first has been seen to decode 5 % slower
    with ExitStack() as stack:
        children = {"edgerun": stack.enter_context(Child("edgerun", model, "--threads", str(threads), "--kv", options.kv))}
        for kind in buffers:
            for flash in (False, True) if options.kv in ("f16", "f32", "bf16") else (True,):   # it quantizes values with flash attention only
                children[kind + " -fa" * flash] = stack.enter_context(peer(model, threads, options.kv, flash, kind))
        for case in cases:
            case.rounds, turns = {name: [] for name in children}, [*children, "limit"]
            for _ in range(options.rounds):
                order.shuffle(turns)
                for name in turns:
                    if name == "limit":
                        limit = ceilings.measure(threads, of=statistics.median)
                        case.limits.append(limit.read if case.kind == "tg" else limit.macs)
                    else:
                        case.rounds[name].append(case.tokens / children[name].seconds(case.kind, case.tokens, case.depth))
            say(f"{count(threads)}, {case.name}: " + ", ".join(f"{name} {case.median(name):.1f}" for name in children))
        return cases, {name: child.about for name, child in children.items()}


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)


def cpu_name() -> str:
    """The processor as Linux calls it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def table(report: dict[str, Any]) -> str:
    """The report for a person."""
    rows = [("threads", "case", "edgerun", "llama.cpp", "as", "ratio", "of limit")]
    for case in report["cases"]:
        medians = [f"{case['medians'][name]:.1f}" for name in ("edgerun", case["peer"])]
        rows.append((str(case["threads"]), case["name"], *medians, case["peer"], f"{case['ratio']:.2f}", f"{case['share']:.0%}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(w) if i in (1, 4) else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))).rstrip() for row in rows]
    units = {"tg": "GB/s read", "pp": "GMAC/s"}
    limits = {(c["threads"], c["kind"]): f"{statistics.median(c['limits']) / 1e9:.1f} {units[c['kind']]} with {count(c['threads'])}" for c in report["cases"]}
    about = next(iter(report["engines"].values()))["edgerun"]
    notes = [f"{report['model']} on {report['cpu']} ({report['cores']} cores); {report['kv']} key/value memory; tokens per second, medians of {report['rounds']} rounds in turn",
             f"limits: {', '.join(limits.values())}; a token reads {about['bytes_per_token'] / 1e6:.1f} MB of weights and takes {about['macs_per_token'] / 1e6:.1f} MMAC"]  # fmt: skip
    if BUFFERS[0] not in report["buffers"]:
        notes.append("llama.cpp crashes here with its default weight buffers; without AMX it does not (repacked), nor with use_extra_bufts = False (plain)")
    return "\n".join([*notes, "", *lines])


def count(threads: int) -> str:
    """1 thread, 2 threads."""
    return f"{threads} thread" + ("" if threads == 1 else "s")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Measure edgerun against llama.cpp on one model file.")
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--depths", type=int, nargs="+", default=[0, 2048])
    parser.add_argument("--tests", nargs="+", default=TESTS, metavar="tgN|ppN")
    parser.add_argument("--kv", default="f16", help="type of key/value memory")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--buffers", nargs="+", choices=BUFFERS, help="those of llama.cpp's weights; else its default, or all others where it crashes")
    parser.add_argument("--json", type=Path, help="write the whole report there")
    options = parser.parse_args()
    buffers = options.buffers or working_buffers(options.model)
    report: dict[str, Any] = {
        "model": os.path.basename(options.model), "file_bytes": os.path.getsize(options.model), "cpu": cpu_name(), "cores": os.cpu_count(),
        "python": platform.python_version(), "rounds": options.rounds, "kv": options.kv, "buffers": buffers, "engines": {}, "cases": [],
    }  # fmt: skip
    for threads in options.threads:
        cases, engines = measure(options.model, threads, options, buffers)
        report["engines"][threads] = engines
        for case in cases:
            medians = {name: case.median(name) for name in case.rounds}
            report["cases"].append(asdict(case) | {"name": case.name, "medians": medians, "peer": case.peer, "ratio": case.ratio, "share": case.share(engines["edgerun"])})
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))


if __name__ == "__main__":
    main()
