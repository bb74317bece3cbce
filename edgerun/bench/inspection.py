"""What `edgerun doctor` tells, as plain values by name: this machine, what edgerun makes of it, what limits a model. Knows no terminal.

Made to be shown to strangers: paths begin with ~ or the variable that names their folder, or are cut to their last part.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgerun import __version__, config, machine

if TYPE_CHECKING:
    from edgerun.backends.cpu.ceilings import Ceilings
    from edgerun.backends.gpu.device import Facts as DeviceFacts
    from edgerun.llm import LLM

PACKAGES = ("numpy", "numba", "llvmlite", "typer", "rich", "huggingface-hub", "jinja2", "regex", "gguf")
# Features that decide which kernels run, or which could run one day (LLVM's names).
_FEATURES = re.compile(r"avx.*|fma|f16c|amx.*|sse4\.2|neon|dotprod|i8mm|bf16|fullfp16|sve2?|sme2?")
_FOLDERS = ("EDGERUN_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")
_GPU_LIMITS = (
    "max-buffer-size", "max-storage-buffer-binding-size", "max-storage-buffers-per-shader-stage", "max-compute-invocations-per-workgroup",
    "max-compute-workgroup-storage-size", "max-compute-workgroups-per-dimension", "min-storage-buffer-offset-alignment",
)  # fmt: skip
PROMPT, TOKENS, RUNS = 128, 32, 3   # what is measured of a model


def system() -> dict[str, Any]:
    """Versions of what edgerun stands on."""
    return {
        "edgerun": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "packages": {name: _version(name) for name in PACKAGES},
        "environment": sorted(name for name in os.environ if name.startswith("EDGERUN_")),
    }


def cpu() -> dict[str, Any]:
    """What this CPU offers and what of it this process may use."""
    from edgerun.backends.cpu import isa

    llvm, features = isa.host()
    threads = machine.threads()
    return {
        "name": machine.cpu_name(),
        "llvm": llvm,
        "features": sorted(f[1:] for f in features.split(",") if f.startswith("+") and _FEATURES.fullmatch(f[1:])),
        "caches": [{"level": c.level, "holds": c.holds, "bytes": c.size, "shared_by": c.shared_by} for c in machine.caches()],
        "cores": os.cpu_count(),
        "allowed": len(machine.cores()),
        "quota": machine.cpu_quota(),
        "threads": threads.count,
        "threads_reason": threads.reason,
    }


def kernels() -> dict[str, Any]:
    """Which instruction set the kernels will use and why, and which of them are compiled already."""
    from edgerun.backends.cpu import isa
    from edgerun.backends.cpu.store import KernelStore

    best, chosen = isa.runnable()[0], isa.choose()
    store = KernelStore(chosen)
    entries = {path.stem: path for path in _listed(store.folder) if path.suffix == ".o"}
    broken = store.missing(entries)
    others = [folder for folder in _listed(store.folder.parent) if folder != store.folder and folder.is_dir()]
    return {
        "isa": chosen.name,
        "reason": "the best that this CPU can run" if chosen == best and config.isa() is None else f"EDGERUN_ISA asks for it; the best is {best.name}",
        "runnable": [found.name for found in isa.runnable()],
        "unavailable": {found.name: sorted(set(found.needs) - _features(isa.host()[1])) for found in isa.ALL if found not in isa.runnable()},
        "folder": shown(store.folder.parent),
        "compiled": len(entries) - len(broken),
        "bytes": _bytes(entries.values()),
        "broken": len(broken),
        "other_folders": len(others),
        "other_bytes": _bytes(path for folder in others for path in _listed(folder)),
    }


def memory() -> dict[str, Any]:
    """What memory there is."""
    free = machine.memory()
    huge = machine.huge_pages()
    return {"available": free.available, "reason": free.reason, "huge_pages": huge}


def limits(threads: int) -> list[dict[str, Any]]:
    """What the machine reads and multiplies at most with one thread and with all, measured now. ResourceError without memory."""
    from edgerun.backends.cpu.ceilings import ceilings

    return [vars(ceilings(count, fresh=True)) for count in sorted({1, threads})]


def gpus(say: Callable[[str], None] = lambda name: None) -> dict[str, Any]:
    """The GPUs, each tested and measured now; say is told its name before. Why there are none, where wgpu cannot be asked."""
    from edgerun.backends.gpu.device import adapters
    from edgerun.errors import DeviceError

    try:
        found = adapters()
    except DeviceError as error:
        return {"devices": [], "missing": str(error)}
    devices = []
    for adapter in found:
        say(adapter.facts.summary)
        devices.append(_gpu(adapter.facts))
    return {"devices": devices, "missing": None if devices else "no GPU, or no driver for it"}


def _gpu(facts: DeviceFacts) -> dict[str, Any]:
    from edgerun.backends.gpu.memory import memory
    from edgerun.backends.gpu.verdict import Record
    from edgerun.placement import judged

    record, free = Record(facts), memory(facts)
    before, verdict = record.read(), judged(record, fresh=True)
    return {
        "name": facts.name,
        "kind": facts.kind,
        "backend": facts.backend,
        "driver": facts.driver,
        "wgpu": facts.wgpu,
        "by_default": facts.by_default,
        "features": sorted(facts.features),
        "limits": {name: facts.limits.get(name) for name in _GPU_LIMITS},
        "memory": free and {"available": free.available, "reason": free.reason},
        "faults": list(verdict.faults),
        "deaths": before.deaths if before else 0,
        "figures": dict(verdict.figures),
    }


def models() -> list[dict[str, Any]]:
    """How many model files there are, by where they are."""
    from edgerun.hub.store import Store

    found: dict[str, dict[str, Any]] = {}
    for model in Store().installed():
        place = found.setdefault(model.place, {"place": model.place, "models": 0, "bytes": 0})
        place["models"] += 1
        place["bytes"] += model.size
    return list(found.values())


def model(llm: LLM, ceilings: Ceilings, say: Callable[[int, int], None] = lambda done, of: None) -> dict[str, Any]:
    """What a token of a model takes, how fast that can be here, and how fast it is. Takes some seconds."""
    from edgerun.bench.facts import Facts
    from edgerun.bench.grammar import Case
    from edgerun.bench.runner import Runner
    from edgerun.bench.work import Work

    executor = llm.session.executor
    work, runner = Work.of(llm.program, llm.plan, executor.pages), Runner(executor, executor.max_rows)
    decode, prefill = Case(0, TOKENS), Case(PROMPT, 0)
    decoded, prefilled = (statistics.median(case.tokens / run.seconds for run in runner.measure(case, RUNS, report=say)) for case in (decode, prefill))
    reading, multiplying = ceilings.read / work.token_bytes(0), ceilings.macs / max(1, work.macs(Case(0, 1)))
    facts = Facts.of(llm.path)
    return {
        "kind": facts.kind,
        "file_bytes": facts.size,
        "context": llm.context,
        "memory": llm.plan.total,
        "threads": llm.threads.count,
        "weight_bytes_per_token": round(work.read(1)),
        "kv_bytes_per_position": sum(size for size, _ in work.memory),
        "macs_per_token": work.macs(Case(0, 1)),
        "decode_limit": "reading memory" if reading < multiplying else "multiplying",
        "decode_predicted": min(reading, multiplying),
        "decode_measured": decoded,
        "prefill_limit": "multiplying" if ceilings.macs / work.macs(prefill) < ceilings.read / work.nbytes(prefill, executor.max_rows) else "reading memory",
        "prefill_predicted": prefill.tokens * min(ceilings.macs / work.macs(prefill), ceilings.read / work.nbytes(prefill, executor.max_rows)),
        "prefill_measured": prefilled,
        "in_cache": llm.plan.weights <= machine.last_level_cache(),
    }


def shown(path: Path) -> str:
    """A path for strangers to see."""
    for name in _FOLDERS:
        if (value := os.environ.get(name)) and path.is_relative_to(value):
            return f"${name}/{path.relative_to(value)}"
    home = os.path.expanduser("~")
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else f".../{path.name}"


def _features(flags: str) -> set[str]:
    return {flag[1:] for flag in flags.split(",") if flag.startswith("+")}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _bytes(paths: Iterable[Path]) -> int:
    return sum(path.lstat().st_size for path in paths if path.is_file())
