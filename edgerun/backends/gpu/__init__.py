"""The GPU backend: WGSL kernels through wgpu, on Vulkan, Metal and Direct3D 12. Needs the extra `gpu`; nothing here is imported without it.

`compile` makes an executor, `plan` says what memory of the device it takes, `refusal` why a program does not run here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgerun.backends.executor import SLOTS, Tensor
from edgerun.backends.gpu.device import Device, open_device
from edgerun.backends.gpu.executor import GpuExecutor, plan
from edgerun.backends.gpu.refusal import refusal
from edgerun.graph.program import Program

__all__ = ["compile", "plan", "refusal"]


def compile(
    program: Program,
    tensors: Mapping[str, Tensor],
    *,
    pages: int,
    slots: int = SLOTS,
    max_rows: int = 512,
    threads: int = 1,
    numerics: str = "fast",
    kv: str = "f16",
    progress: Callable[[str, int, int], None] | None = None,
    device: Device | str | None = None,
) -> GpuExecutor:
    """Load the weights and make the program runnable on a device, or on the one of that name.

    Arguments as those of the CPU backend; keys and values are kept as f16 or f32. numerics: activations are float32 in both,
    and weights stay as they are. Errors: those of reading tensors, Unsupported where `refusal` has a reason, DeviceError, ResourceError.
    """
    opened = device if isinstance(device, Device) else open_device(device)
    return GpuExecutor(program, tensors, opened, pages=pages, max_rows=max_rows, threads=threads, kv=kv, progress=progress)
