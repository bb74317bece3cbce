"""Writes grouped.npz: small random matrices packed by AutoGPTQ and AutoAWQ, and what these make of them again.

    python make.py GPTQ AWQ

The folders are the unpacked wheels of auto_gptq 0.7.1 and autoawq 0.2.7. Of the first only qlinear_cuda_old.py is run, of the second gemm.py and
packing_utils.py, with torch and transformers on a CPU; what they import besides is left out. The products are rounded to F16 there.
"""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch

INPUTS, OUTPUTS = 64, 32


def module(name: str, **values: Any) -> types.ModuleType:
    made = types.ModuleType(name)
    made.__dict__.update(values)
    sys.modules[name] = made
    return made


def gptq(folder: Path, bits: int, group: int, symmetric: bool) -> dict[str, np.ndarray]:
    source = (folder / "auto_gptq/nn_modules/qlinear/qlinear_cuda_old.py").read_text()
    names: dict[str, Any] = {"__name__": "qlinear"}
    exec(compile(re.sub(r"^from \.\.\..*$", "", source, flags=re.M), "qlinear", "exec"), names)
    linear = torch.nn.Linear(INPUTS, OUTPUTS, bias=False).half()
    most, by_group = 2**bits - 1, linear.weight.data.float().reshape(OUTPUTS, -1, group)
    low, high = by_group.amin(-1).clamp(max=0), by_group.amax(-1).clamp(min=0)
    scales = (torch.maximum(-low, high) * 2.1 if symmetric else high - low).div(most).half()
    zeros = torch.full_like(scales, (most + 1) / 2) if symmetric else torch.round(-low / scales.float()).clamp(1, most).half()
    packed = names["QuantLinear"](bits, group, INPUTS, OUTPUTS, False)
    packed.pack(linear, scales, zeros, torch.arange(INPUTS) // group)
    with torch.no_grad():
        weights = packed.eval()(torch.eye(INPUTS, dtype=torch.float16)).T
    return {part: getattr(packed, part).numpy() for part in ("qweight", "qzeros", "scales", "g_idx")} | {"weights": weights.numpy()}


def awq(folder: Path, group: int) -> dict[str, np.ndarray]:
    for name in ("awq", "awq.utils", "awq.modules", "awq.modules.linear", "awq.modules.triton"):
        module(name).__path__ = [str(folder / name.replace(".", "/"))]
    module("awq.utils.module", try_import=lambda name: (None, ""))
    module("awq.utils.utils", get_best_device=lambda: "cpu")
    module("awq.modules.triton.gemm", awq_gemm_triton=None, awq_dequantize_triton=None)
    from awq.modules.linear.gemm import WQLinear_GEMM
    from awq.utils.packing_utils import dequantize_gemm

    linear = torch.nn.Linear(INPUTS, OUTPUTS, bias=False)
    by_group = linear.weight.data.reshape(OUTPUTS, -1, group)
    low, high = by_group.amin(-1), by_group.amax(-1)
    scales = (high - low).div(15).half()
    zeros = torch.round(-low / scales.float()).clamp(0, 15)
    s, z = scales.float()[..., None], zeros[..., None]
    linear.weight.data = (((by_group / s).round() + z).clamp(0, 15) - z).mul(s).reshape(OUTPUTS, INPUTS)
    packed = WQLinear_GEMM.from_linear(linear, 4, group, False, scales.T.contiguous(), zeros.T.contiguous())
    weights = dequantize_gemm(packed.qweight, packed.qzeros, packed.scales, 4, group).T
    return {part: getattr(packed, part).numpy() for part in ("qweight", "qzeros", "scales")} | {"weights": weights.numpy()}


if __name__ == "__main__":
    torch.manual_seed(0)
    gptq_folder, awq_folder = map(Path, sys.argv[1:3])
    found = {f"gptq-{bits}-{group}-{'sym' if symmetric else 'any'}": gptq(gptq_folder, bits, group, symmetric) for bits, group, symmetric in ((4, 32, True), (4, 64, False), (8, 32, True), (2, 32, False))}
    found |= {f"awq-4-{group}-any": awq(awq_folder, group) for group in (32, 64)}
    np.savez_compressed(Path(__file__).parent / "grouped.npz", **{f"{name}.{part}": value for name, parts in found.items() for part, value in parts.items()})
