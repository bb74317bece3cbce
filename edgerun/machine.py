"""What this machine lets one process use: cores and memory, as the kernel and its control groups say. Knows no model.

Everything is read from /dev, /proc and /sys at the moment of asking; a file that is missing or makes no sense sets no limit. Where
there are no such files, `foreign.py` asks the system.
`root` moves these folders elsewhere (tests, or a look into another container).
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from edgerun import foreign
from edgerun.dataclass import dataclass
from edgerun.errors import UsageError

_ROOT = Path("/")
_GPUS = ("dev/dri/renderD*", "dev/nvidia[0-9]*", "dev/dxg", "dev/kgsl-3d*", "dev/mali*")   # dxg: of Windows, seen from inside WSL
_UNLIMITED = 1 << 60   # control groups of version 1 write "no limit" as the largest multiple of a page


@dataclass(frozen=True)
class Threads:
    """How many threads to use, why that many, and a line for the user where more were asked for."""

    count: int
    reason: str
    warning: str | None = None


@dataclass(frozen=True)
class Memory:
    """Bytes that can be had now without pushing anything out, and what sets the limit."""

    available: int
    reason: str


@dataclass(frozen=True)
class Cache:
    """One cache of a core: its level, what it holds (Data, Instruction or Unified), bytes, and how many CPUs share it."""

    level: int
    holds: str
    size: int
    shared_by: int


def may_have_gpu(root: Path = _ROOT) -> bool:
    """Whether it is worth asking the drivers, which takes half a second: on Linux no GPU computes without a file of its own."""
    return not sys.platform.startswith("linux") or any(next(root.glob(pattern), None) for pattern in _GPUS)


def threads(asked: int | None = None, root: Path = _ROOT) -> Threads:
    """How many threads to compute with: `asked`, but never more than can run at the same time, else one per fast core.

    More threads than the affinity mask or the quota lets run only wait for each other, so the number is capped there.
    UsageError when `asked` is not positive.
    """
    if asked is not None and asked < 1:
        raise UsageError(f"threads must be at least 1, not {asked}; leave -t out to use every fast core")
    cpus = _affinity(root)
    limit, reason = len(cpus), f"{_count(len(cpus), 'core')} allowed to this process"
    quota = cpu_quota(root)
    if quota is not None and max(1, int(quota)) < limit:
        limit, reason = max(1, int(quota)), f"control group quota of {quota:g} cores"
    if asked is not None and asked > limit:
        return Threads(limit, reason, f"using {limit} of the {asked} threads asked for: {reason}")
    if asked is not None:
        return Threads(asked, "as asked")
    fast = (foreign.fast_cores() if root == _ROOT else None) or len(_fast_cores(cpus, root))
    if fast < limit:
        return Threads(fast, f"{_count(fast, 'fast physical core')} of {_count(len(cpus), 'logical one')}")
    return Threads(limit, reason)


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Cores' worth of time that the control groups grant (cgroup-v2 cpu.max, v1 cpu.cfs_quota_us), None without a limit."""
    shares = []
    for folder in _groups("cpu", root):
        quota, _, period = text_of(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = text_of(folder / "cpu.cfs_quota_us"), text_of(folder / "cpu.cfs_period_us")
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            shares.append(int(quota) / int(period))
    return min(shares, default=None)


def memory(root: Path = _ROOT) -> Memory:
    """Memory that can be had now: the smaller of what the machine and what each control group above us has left."""
    found = [Memory(_machine_memory(root), "free memory of this machine")]
    for folder in _groups("memory", root):
        left = _left_in_group(folder)
        if left is not None:
            found.append(Memory(left, "limit of the control group"))
    return min(found, key=lambda m: m.available)


def peak_memory(root: Path = _ROOT) -> int:
    """Most bytes this process has had resident at once."""
    # ru_maxrss survives exec, so a small process started by a large one would report the large one.
    peak = _fields(root / "proc/self/status").get("VmHWM")
    if peak is not None:
        return peak * 1024
    if (found := foreign.peak_memory()) is not None:
        return found
    import resource
    import sys

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def forget_peak_memory(root: Path = _ROOT) -> None:
    """Have `peak_memory` count from now on; where the kernel does not offer that, it goes on as before."""
    with suppress(OSError):
        (root / "proc/self/clear_refs").write_text("5", encoding="ascii")


def cpu_name(root: Path = _ROOT) -> str:
    """The processor as the system calls it, in one line; empty when it does not."""
    rows = (line.partition(":") for line in text_of(root / "proc/cpuinfo").splitlines())
    names = {key.strip(): value.strip() for key, _, value in rows}
    return " ".join((names.get("model name") or names.get("Hardware") or platform.processor()).split())[:120]


def caches(root: Path = _ROOT) -> list[Cache]:
    """The caches of the first CPU this process may run on, smallest first; none where /sys does not tell."""
    found = []
    for folder in sorted((root / f"sys/devices/system/cpu/cpu{min(cores(root))}/cache").glob("index*")):
        level, size = integer(text_of(folder / "level")), _bytes(text_of(folder / "size"))
        if level and size:
            shared = _cpu_list(text_of(folder / "shared_cpu_list"))
            found.append(Cache(level, text_of(folder / "type")[:20], size, max(1, len(shared))))
    return sorted(found, key=lambda cache: (cache.level, cache.holds))


def last_level_cache(root: Path = _ROOT) -> int:
    """Bytes of the largest cache; 0 where it is not known."""
    return max((cache.size for cache in caches(root)), default=0)


def huge_pages(root: Path = _ROOT) -> str:
    """When the kernel gives huge pages: always, madvise (where a program asks, as edgerun does) or never; empty when it does not say."""
    _, _, chosen = text_of(root / "sys/kernel/mm/transparent_hugepage/enabled").partition("[")
    return chosen.partition("]")[0][:20]


def cores(root: Path = _ROOT) -> frozenset[int]:
    """The CPUs this process may run on."""
    return _affinity(root)


# ---- cores ----------------------------------------------------------------------------------------------------------


def _affinity(root: Path) -> frozenset[int]:
    """The CPUs this process may run on; those of /sys when looking elsewhere than at this machine."""
    if root != _ROOT:
        online = _cpu_list(text_of(root / "sys/devices/system/cpu/online"))
        return online or frozenset({0})
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(foreign.cpus() or os.cpu_count() or 1))


def _fast_cores(cpus: frozenset[int], root: Path) -> frozenset[int]:
    """One CPU of each physical core among `cpus`, efficiency cores left out; all of `cpus` where /sys does not tell."""
    system = root / "sys/devices/system/cpu"
    fast = cpus & _cpu_list(text_of(root / "sys/devices/cpu_core/cpus")) or cpus   # Intel names its performance cores
    capacity = {cpu: integer(text_of(system / f"cpu{cpu}/cpu_capacity")) or 0 for cpu in fast}
    most = max(capacity.values())
    fast = frozenset(cpu for cpu in fast if 2 * capacity[cpu] > most or not most)

    def core(cpu: int) -> int:
        siblings = text_of(system / f"cpu{cpu}/topology/core_cpus_list") or text_of(system / f"cpu{cpu}/topology/thread_siblings_list")
        return min(_cpu_list(siblings) & fast, default=cpu)

    return frozenset(core(cpu) for cpu in fast)


def _cpu_list(text: str) -> frozenset[int]:
    """CPUs of a kernel list such as 0-3,8; nothing when it makes no sense."""
    cpus: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal() or int(last or first) > 1 << 16:
            return frozenset()
        cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


# ---- memory ---------------------------------------------------------------------------------------------------------


def _machine_memory(root: Path) -> int:
    """MemAvailable, or all of the machine's memory where the system does not count it."""
    info = _fields(root / "proc/meminfo")
    kilobytes = info.get("MemAvailable", info.get("MemTotal"))
    if kilobytes is not None:
        return kilobytes * 1024
    free = foreign.free_memory()
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if free is None else free


def _left_in_group(folder: Path) -> int | None:
    """Bytes left below the limit of one memory group. File cache counts as left: the kernel drops it when asked for more."""
    # memory.high is where the kernel begins to slow a group down, so it is as good as a limit.
    names = ("memory.max", "memory.high", "memory.limit_in_bytes")
    limits = [limit for name in names if (limit := integer(text_of(folder / name))) is not None and limit < _UNLIMITED]
    if not limits:
        return None
    used = integer(text_of(folder / "memory.current") or text_of(folder / "memory.usage_in_bytes")) or 0
    stat = _fields(folder / "memory.stat")
    cache = sum(stat.get(f"total_{name}", stat.get(name, 0)) for name in ("inactive_file", "active_file"))
    return max(0, min(limits) - max(0, used - cache))


# ---- control groups -------------------------------------------------------------------------------------------------


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Folders of the control groups this process is in for one controller (version 1 or 2), innermost first."""
    for mount, top, path in _memberships(controller, root):
        try:
            inside = PurePosixPath(path).relative_to(top)
        except ValueError:   # the mount shows another part of the tree, as in a container: its top is our group
            inside = PurePosixPath(".")
        if ".." in inside.parts:
            inside = PurePosixPath(".")
        folder = root / mount.lstrip("/") / inside
        bottom = root / mount.lstrip("/")
        if not folder.is_dir():
            folder = bottom
        yield folder
        while folder != bottom:
            folder = folder.parent
            yield folder


def _memberships(controller: str, root: Path) -> Iterator[tuple[str, str, str]]:
    """(mount point, what of the tree is mounted there, our group's path in the tree) for each hierarchy of a controller."""
    ours = {}
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        ours.update(dict.fromkeys(names.split(","), path))   # version 2 has an empty name
    for line in text_of(root / "proc/self/mountinfo").splitlines():
        left, _, right = line.partition(" - ")
        place, kind = left.split(), right.split()
        if len(place) < 5 or len(kind) < 3:
            continue
        if kind[0] == "cgroup2" and "" in ours:
            yield place[4], place[3], ours[""]
        elif kind[0] == "cgroup" and controller in kind[2].split(",") and controller in ours:
            yield place[4], place[3], ours[controller]


# ---- files of the kernel --------------------------------------------------------------------------------------------


def text_of(path: Path) -> str:
    """The content of a small kernel file without surrounding space; empty when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def integer(text: str) -> int | None:
    """The number that such a file holds; None for anything else."""
    return int(text) if text.isdecimal() else None


def _bytes(text: str) -> int | None:
    """A size such as 48K."""
    unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:])
    number = integer(text[:-1] if unit else text)
    return number * (unit or 1) if number is not None else None


def _fields(path: Path) -> dict[str, int]:
    """Lines `name: 12 kB` or `name 12` as numbers by name."""
    rows = (line.replace(":", " ").split() for line in text_of(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) >= 2 and row[1].isdecimal()}


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("" if n == 1 else "s")
