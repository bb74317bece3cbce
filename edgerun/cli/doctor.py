"""`edgerun doctor`: what this machine offers, to be pasted into a report. Knows how it is laid out; the facts are `edgerun.bench.inspection`'s."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerun.cli import options as o
from edgerun.cli.clean import clean
from edgerun.cli.complete import models
from edgerun.cli.loading import loaded
from edgerun.cli.table import size
from edgerun.cli.terminal import status, stdout

if TYPE_CHECKING:
    from edgerun.backends.cpu.ceilings import Ceilings

Rows = list[tuple[str, str]]

_TELLING = ("shader-", "subgroup", "immediates", "timestamp-query")   # features that kernels could use

Ref = Annotated[str | None, typer.Option("-m", "--model", metavar="REF", autocompletion=models, show_default=False, help="Tell what limits this model, too.")]
Gpu = Annotated[bool, typer.Option("--gpu", help="Test and measure the GPUs, too, which takes up to two minutes for each.")]
Json = Annotated[bool, typer.Option("--json", help="For programs: one object, sizes in bytes, rates per second.")]


def command(model: Ref = None, gpu: Gpu = False, threads: o.Threads = None, as_json: Json = False, quiet: o.Quiet = False) -> None:
    """Tell what this machine offers and what limits a model on it.

    Measures what it reads from memory and multiplies, which takes some seconds; with -m how fast the model is next to how fast it
    could be. Made to be pasted into a report: it holds no name of a user, and no path beyond ~.
    """
    facts = _facts(model, gpu, threads, quiet)
    print(json.dumps(facts, indent=2) if as_json else report(facts), file=stdout())


def _facts(ref: str | None, gpu: bool, asked: int | None, quiet: bool) -> dict[str, Any]:
    from edgerun import machine
    from edgerun.backends.cpu.ceilings import Ceilings
    from edgerun.bench import inspection

    threads = machine.threads(asked).count
    facts: dict[str, Any] = {"system": inspection.system(), "cpu": inspection.cpu(), "kernels": inspection.kernels(), "memory": inspection.memory()}
    with status("measuring this machine", 0.0, wanted=not quiet) as advance:
        advance(0, None)
        facts["limits"] = inspection.limits(threads)
    if gpu:
        facts["gpus"] = _gpus(quiet)
    facts["models"] = inspection.models()
    if ref:
        facts["model"] = _model(ref, threads, Ceilings(**facts["limits"][-1]), quiet)
    return facts


def _gpus(quiet: bool) -> dict[str, Any]:
    from edgerun.bench import inspection

    with ExitStack() as shown:

        def say(name: str) -> None:
            shown.close()
            shown.enter_context(status(f"testing {clean(name, keep_newlines=False)}", 0.0, wanted=not quiet))(0, None)

        return inspection.gpus(say)


def _model(ref: str, threads: int, ceilings: Ceilings, quiet: bool) -> dict[str, Any]:
    from edgerun.bench import inspection

    with loaded(ref, None, threads, quiet) as llm, status("measuring the model:", 0.0, wanted=not quiet) as advance:
        return inspection.model(llm, ceilings, advance)


# ---- for a person ------------------------------------------------------------------------------------------------------


def report(facts: dict[str, Any]) -> str:
    """The facts as aligned text, without a newline at the end."""
    sections: dict[str, Rows] = {
        "System": _system(facts["system"]),
        "CPU": _cpu(facts["cpu"]),
        "Kernels": _kernels(facts["kernels"]),
        "Memory": _memory(facts["memory"]),
        "Limits, measured now": _limits(facts["limits"]),
        **_gpu_sections(facts.get("gpus")),
        "Models here": [(m["place"], f"{_count(m['models'], 'file')}, {size(m['bytes'])}") for m in facts["models"]] or [("none", "")],
    }
    if model := facts.get("model"):
        sections[f"Model {clean(model['kind'], keep_newlines=False)}"] = _model_rows(model)
    width = max(len(name) for rows in sections.values() for name, _ in rows)
    parts = [title + "".join(f"\n  {clean(f'{name:<{width}}  {value}', keep_newlines=False).rstrip()}" for name, value in rows) for title, rows in sections.items()]
    return "\n\n".join(parts)


def _system(s: dict[str, Any]) -> Rows:
    packages = ", ".join(f"{name} {version or 'missing'}" for name, version in s["packages"].items())
    return [
        ("edgerun", s["edgerun"]),
        ("runs on", f"Python {s['python']}, {s['system']}, {s['machine']}"),
        ("packages", packages),
        ("variables set", ", ".join(s["environment"]) or "none of edgerun's"),
    ]


def _cpu(c: dict[str, Any]) -> Rows:
    caches = (f"L{k['level']}{'' if k['holds'] == 'Unified' else k['holds'][:1].lower()} {_binary(k['bytes'])}" + (f" for {k['shared_by']}" if k["shared_by"] > 1 else "") for k in c["caches"])
    return [
        ("name", f"{c['name'] or 'not known'} (LLVM: {c['llvm']})"),
        ("features", " ".join(c["features"]) or "none that matter"),
        ("caches", ", ".join(caches) or "not known"),
        ("cores", f"{c['cores']}, {c['allowed']} of them allowed to this process"),
        ("quota", "none" if c["quota"] is None else f"{c['quota']:g} cores"),
        ("threads", f"{c['threads']}: {c['threads_reason']}"),
    ]


def _kernels(k: dict[str, Any]) -> Rows:
    missing = "; ".join(f"{name} needs {', '.join(needs)}" for name, needs in k["unavailable"].items())
    compiled = f"{_count(k['compiled'], 'kernel')}, {size(k['bytes'])}, in {k['folder']}" if k["compiled"] else f"none yet in {k['folder']}"
    others = f"{_count(k['other_folders'], 'folder')} of other versions or instruction sets, {size(k['other_bytes'])}" if k["other_folders"] else ""
    rows = [("instruction set", f"{k['isa']}: {k['reason']}"), ("could run", ", ".join(k["runnable"])), ("cannot run", missing), ("compiled", compiled)]
    rows += [("damaged", f"{_count(k['broken'], 'kernel')}, compiled anew when needed" if k["broken"] else ""), ("besides", others)]
    return [row for row in rows if row[1]]


def _memory(m: dict[str, Any]) -> Rows:
    return [("available", f"{size(m['available'])} ({m['reason']})"), ("huge pages", m["huge_pages"] or "not known")]


def _limits(limits: list[dict[str, Any]]) -> Rows:
    return [(_count(c["threads"], "thread"), f"reads {c['read'] / 1e9:.1f} GB/s, multiplies {c['macs'] / 1e9:.0f} GMAC/s ({c['isa']})") for c in limits]


def _gpu_sections(gpus: dict[str, Any] | None) -> dict[str, Rows]:
    if gpus is None:
        return {}
    if not gpus["devices"]:
        return {"GPU": [("none", gpus["missing"])]}
    return {f"GPU {i}": _gpu_rows(g) for i, g in enumerate(gpus["devices"], 1)}


def _gpu_rows(g: dict[str, Any]) -> Rows:
    limits, figures, free = g["limits"], g["figures"], g["memory"]
    speeds = [f"{name.removeprefix('matvec ')} {figure / 1e9:.1f} GB/s" for name, figure in figures.items() if name.startswith("matvec ")]
    best = max((figure for name, figure in figures.items() if name.startswith("matvec ")), default=0.0)
    share = f"; at most {best / figures['copy']:.0%} of what it copies" if best and figures.get("copy") else ""
    rows = [
        ("name", g["name"]),
        ("is", f"{g['kind']}, through {g['backend']}; {'taken by itself' if g['by_default'] else 'used only by its name'}"),
        ("driver", f"{g['driver'] or 'not known'}; wgpu {g['wgpu']}"),
        ("features", " ".join(f for f in g["features"] if f.startswith(_TELLING)) or "none that matter"),
        ("limits", f"{size(limits['max-buffer-size'] or 0)} in a buffer, {size(limits['max-storage-buffer-binding-size'] or 0)} bound, "
                   f"{limits['max-storage-buffers-per-shader-stage']} buffers, {limits['max-compute-invocations-per-workgroup']} lanes and "
                   f"{_binary(limits['max-compute-workgroup-storage-size'] or 0)} in a workgroup"),
        ("memory", f"{size(free['available'])} ({free['reason']})" if free else "nobody tells; EDGERUN_GPU_MEMORY=8G would"),
        ("self-test", "passed" if not g["faults"] else f"failed: {g['faults'][0]}"),
        *[("", fault) for fault in g["faults"][1:]],
        ("runs that died", str(g["deaths"]) if g["deaths"] else ""),
        ("copies", f"{figures['copy'] / 1e9:.1f} GB/s, read and written" if "copy" in figures else ""),
        ("multiplies", ", ".join(speeds) + share),
    ]  # fmt: skip
    return [row for row in rows if row[1]]


def _model_rows(m: dict[str, Any]) -> Rows:
    def rate(kind: str) -> str:
        predicted, measured = m[f"{kind}_predicted"], m[f"{kind}_measured"]
        return f"limited by {m[f'{kind}_limit']}: {predicted:.1f} tokens/s predicted, {measured:.1f} measured ({measured / predicted:.0%})"

    return [
        ("size", f"{size(m['file_bytes'])}; {size(m['memory'])} of memory at a context of {m['context']}"),
        ("a token reads", f"{m['weight_bytes_per_token'] / 1e6:.1f} MB of weights, and {m['kv_bytes_per_position'] / 1e3:.1f} kB for each token before it"),
        ("and multiplies", f"{m['macs_per_token'] / 1e6:.1f} million times"),
        ("answer", f"{rate('decode')} with {_count(m['threads'], 'thread')}"),
        *([("", "the weights fit into the last-level cache: more than predicted is possible")] if m["in_cache"] else []),
        ("prompt", rate("prefill")),
    ]


def _binary(nbytes: int) -> str:
    """The size of a cache."""
    return f"{nbytes >> 20} MiB" if nbytes >= 1 << 20 else f"{nbytes >> 10} KiB"


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
