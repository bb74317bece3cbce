"""Where a model is computed: on a GPU or on the CPU, and with which context. Knows no kernel, and not how a model is answered with.

The whole model is in one place. "auto" takes a GPU that passed its self-test, reads weights faster than the CPU does, has a kernel
for everything in the model, and room for it. Where there is a GPU and one of these fails, a note says which.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING

from edgerun import machine
from edgerun.backends.executor import Executor
from edgerun.blueprint import Blueprint
from edgerun.dataclass import dataclass
from edgerun.engine.fit import Fit, fit
from edgerun.engine.kvcache import pages_for
from edgerun.errors import DeviceError, EdgerunError, ResourceError

if TYPE_CHECKING:
    from edgerun.backends.gpu.device import Adapter, Device, Facts
    from edgerun.backends.gpu.selftest import Outcome
    from edgerun.backends.gpu.verdict import Record, Verdict

Progress = Callable[[str, int, int | None], None]
CPU_READS = "CPU reads"   # the figure beside those of the device


@dataclass(frozen=True)
class Place:
    """A model made ready to run. device: the GPU it is on, if it is on one, and copies: bytes per second that this one copies.

    note: why it is not on the GPU, for the user, where there is one and nothing was asked for; or which weights were repacked all the same.
    """

    blueprint: Blueprint
    fit: Fit
    executor: Executor
    note: str | None = None
    device: Device | None = None
    copies: float = 0.0

    @classmethod
    def of(cls, blueprint: Blueprint, context: int | None, threads: int, progress: Progress) -> Place:
        """Choose, and compile. context: the user's, or None. DeviceError where the GPU was asked for and cannot be used; else as in `load`."""
        asked = blueprint.options.device
        if blueprint.options.backend != "auto" or asked == "cpu" or blueprint.options.repack == "never":
            return _on_cpu(blueprint, context, threads, progress, None)
        try:
            adapter = _adapter(asked)
            if adapter is not None:
                return _on_gpu(blueprint, adapter, context, threads, progress)
        except (DeviceError, ResourceError) as error:
            if asked != "auto":
                raise DeviceError(f"the GPU cannot be used: {error}; without --device the CPU computes") from None
            return _on_cpu(blueprint, context, threads, progress, f"GPU not used: {error}; running on the CPU.")
        return _on_cpu(blueprint, context, threads, progress, None)

    def close(self) -> None:
        """Give back memory, threads and the device. Calling it twice is harmless."""
        self.executor.close()
        if self.device:
            self.device.close()


def _on_cpu(blueprint: Blueprint, context: int | None, threads: int, progress: Progress, note: str | None) -> Place:
    spec = blueprint.spec
    found = fit(blueprint.plan, context, spec.context, machine.memory(), spec.longest)
    return Place(blueprint, found, blueprint.compile(pages_for(found.context), threads, progress), note or blueprint.mapped[1])


def _adapter(asked: str) -> Adapter | None:
    """The device that was asked for; with "auto" the one that may be taken, or None where there is none or nothing to ask with."""
    if asked == "auto" and (find_spec("wgpu") is None or not machine.may_have_gpu()):
        return None
    from edgerun.backends.gpu.device import adapters, choose

    try:
        return choose(adapters(), None if asked in ("auto", "gpu") else asked)
    except DeviceError:
        if asked != "auto":
            raise
        return None


def _on_gpu(blueprint: Blueprint, adapter: Adapter, context: int | None, threads: int, progress: Progress) -> Place:
    """The model on this device. DeviceError or ResourceError with the reason where that cannot be, or with "auto" should not."""
    from edgerun.backends import gpu
    from edgerun.backends.gpu.verdict import Record

    facts, options, blueprint = adapter.facts, blueprint.options, dataclasses.replace(blueprint, backend="gpu")
    lacking = gpu.refusal(blueprint.program, blueprint.tensors)
    if lacking:
        raise DeviceError(lacking)
    record = Record(facts)
    verdict = judged(record, progress)
    if verdict.against and (verdict.faults or options.device == "auto"):
        raise DeviceError(verdict.against)
    if options.device == "auto" and (slower := _slower(blueprint, verdict)):
        raise DeviceError(slower)
    found = _fitting(blueprint, facts, context)
    with ExitStack() as opened:
        device = _opened(adapter, record)
        opened.callback(device.close)
        try:
            executor = blueprint.compile(pages_for(found.context), threads, progress, device=device)
        except Exception as error:
            if type(error).__module__.partition(".")[0] != "wgpu":
                raise
            raise DeviceError(f"it refuses a kernel of this model: {ascii(' '.join(str(error).split()))[:200]}") from error
        opened.pop_all()
        return Place(blueprint, found, executor, device=device, copies=verdict.figures.get("copy", 0.0))


def judged(record: Record, progress: Progress = lambda what, done, of: None, fresh: bool = False) -> Verdict:
    """What is known of a device; it is tested where nothing is, or fresh. progress is told of "device" meanwhile."""
    if not fresh and record.known():
        return record.judge(_tested)
    progress("device", 0, None)
    verdict = record.judge(_tested, fresh)
    progress("device", 1, 1)
    return verdict


def _tested(facts: Facts) -> Outcome:
    """The self-test, and where it is passed what the CPU reads, to compare."""
    from edgerun.backends.cpu.ceilings import ceilings
    from edgerun.backends.gpu.selftest import selftest

    outcome = selftest(facts)
    if outcome.faults or not facts.by_default:
        return outcome
    return dataclasses.replace(outcome, figures=dict(outcome.figures) | {CPU_READS: ceilings(machine.threads().count).read})


def _slower(blueprint: Blueprint, verdict: Verdict) -> str | None:
    """In words that the CPU reads this model's weights faster; None where the device does."""
    from edgerun.formats import by_id

    nbytes: Counter[str] = Counter()
    for tensor in blueprint.file.tensors.values():
        nbytes[by_id(tensor.type).name] += tensor.nbytes
    timed = {name.removeprefix("matvec "): figure for name, figure in verdict.figures.items() if name.startswith("matvec ")}
    most = next((name for name, _ in nbytes.most_common() if name in timed), None)
    theirs, ours = timed[most] if most else min(timed.values(), default=0.0), verdict.figures.get(CPU_READS, 0.0)
    return None if theirs > ours else f"it reads weights at {theirs / 1e9:.1f} GB/s, the CPU at {ours / 1e9:.1f}"


def _fitting(blueprint: Blueprint, facts: Facts, context: int | None) -> Fit:
    """The context that fits. Where nobody tells how much memory the device has, one who asks for it has to know."""
    from edgerun.backends.gpu.memory import memory

    room = memory(facts)
    if room is None and blueprint.options.device == "auto":
        raise DeviceError("nobody tells how much memory it has; EDGERUN_GPU_MEMORY=8G would")
    spec = blueprint.spec
    return fit(blueprint.plan, context, spec.context, room or machine.Memory(1 << 60, "not known"), spec.longest)


def _opened(adapter: Adapter, record: Record) -> Device:
    """The device, marked as in use until it is closed."""
    from edgerun.backends.gpu.device import open_adapter

    run = record.begin()
    try:
        device = open_adapter(adapter)
    except EdgerunError:
        run.end()
        raise
    device.at_close(lambda: run.end(well=device.lost is None))
    return device
