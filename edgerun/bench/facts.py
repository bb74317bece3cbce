"""What a model file is, as one line of a table says it. Knows no clock."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from edgerun.dataclass import dataclass
from edgerun.gguf import open_gguf

# general.file_type of the file, ggml's llama_ftype: what its maker calls a mixture of formats.
_FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S",
    15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S",
    25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4",
}  # fmt: skip


@dataclass(frozen=True)
class Facts:
    """kind: architecture, parameters and quantization in words; size: bytes of the tensors; parameters: their number."""

    kind: str
    size: int
    parameters: int

    @classmethod
    def of(cls, path: Path) -> Facts:
        """Those of a file. ModelError when it is none."""
        with open_gguf(path) as file:
            tensors = file.tensors.values()
            parameters = sum(math.prod(t.shape) for t in tensors)
            bytes_of: Counter[str] = Counter()
            for t in tensors:
                bytes_of[t.type_name] += t.nbytes
            most = bytes_of.most_common(1)[0][0] if bytes_of else ""
            quantization = _FILE_TYPES.get(file.metadata.int("general.file_type", -1) or 0, most)
            kind = f"{file.metadata.str('general.architecture', '?')} {amount(parameters)} {quantization}"
            return cls(kind, sum(t.nbytes for t in tensors), parameters)


def amount(parameters: int) -> str:
    """A number of parameters, as model names have it: 135M, 1.5B."""
    if parameters < 999.5e6:
        return f"{parameters / 1e6:.0f}M"
    return f"{parameters / 1e9:.1f}B" if parameters < 1e10 else f"{parameters / 1e9:.0f}B"
