"""How much of a device's memory a model may take. WebGPU does not tell, and a buffer that could be made proves nothing: drivers promise
more than there is. Knows a few places that tell.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from edgerun import config, machine
from edgerun.backends.gpu.device import Facts
from edgerun.errors import UsageError
from edgerun.machine import Memory

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DRM = Path("/sys/class/drm")
_ASK_NVIDIA = ("--query-gpu=name,memory.free", "--format=csv,noheader,nounits")


def memory(facts: Facts) -> Memory | None:
    """What a model may take, and who says so; None where nobody tells. UsageError for an EDGERUN_GPU_MEMORY that is no size."""
    if said := config.gpu_memory():
        return Memory(_size(said), "EDGERUN_GPU_MEMORY")
    if facts.kind in ("software", "integrated"):
        return machine.memory()
    free = _nvidia(facts.name) if "nvidia" in facts.name.casefold() else _drm() if facts.kind == "discrete" else None
    return None if free is None else Memory(free, "free memory of the GPU")


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if not match:
        raise UsageError(f"EDGERUN_GPU_MEMORY={text[:40]!a} is no size; write it as 8G or 512M")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _nvidia(name: str) -> int | None:
    """Bytes that are free, as NVIDIA's own tool says; of several devices called so the least."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        said = subprocess.run([tool, *_ASK_NVIDIA], stdin=subprocess.DEVNULL, capture_output=True, timeout=5.0, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    rows = (line.rpartition(",") for line in said[: 1 << 16].decode(errors="replace").splitlines())
    free = [int(last) << 20 for first, _, last in rows if first.strip() in name and last.strip().isdecimal()]
    return min(free, default=None)


def _drm(root: Path = _DRM) -> int | None:
    """Bytes that are free on the only card whose driver tells (amdgpu does)."""
    free = []
    for folder in sorted(root.glob("card[0-9]*/device")):
        total, used = (machine.integer(machine.text_of(folder / f"mem_info_vram_{what}")) for what in ("total", "used"))
        if total is not None and used is not None:
            free.append(max(0, total - used))
    return free[0] if len(free) == 1 else None
