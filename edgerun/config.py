"""Where things live on this machine, from the environment. Knows nothing of models; creates no folder by itself.

    EDGERUN_HOME    everything edgerun keeps; default $XDG_CACHE_HOME/edgerun or ~/.cache/edgerun
    EDGERUN_DEBUG   1: show tracebacks
    EDGERUN_ISA     which kernels the CPU backend uses: amx | avx512vnni | avxvnni | avx2 on x86-64, neoni8mm | neon on ARM, portable
                    anywhere; default the best one that this CPU can run
    EDGERUN_GPU_MEMORY   what a model may take of the GPU's memory, as 8G; default what is free there, where that can be found out
"""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder that holds everything edgerun keeps."""
    if path := os.environ.get("EDGERUN_HOME"):
        return Path(path)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(cache) / "edgerun"
    try:
        return Path.home() / ".cache" / "edgerun"
    except RuntimeError:   # a user without a home, as in some containers: a place where nothing can be kept
        return Path(os.devnull) / "edgerun"


def models_folder() -> Path:
    """Downloaded model files that do not come from the hub (the hub's own cache is used in place)."""
    return home() / "models"


def kernels_folder() -> Path:
    """Machine code of compiled kernels."""
    return home() / "kernels"


def devices_folder() -> Path:
    """What was found out about GPUs."""
    return home() / "devices"


def chats_folder() -> Path:
    """Saved conversations and the input history of `edgerun chat`."""
    return home() / "chats"


def debug() -> bool:
    """Whether bugs show their traceback."""
    return os.environ.get("EDGERUN_DEBUG", "") not in ("", "0")


def isa() -> str | None:
    """The instruction set asked for, or None for the best one here."""
    return os.environ.get("EDGERUN_ISA") or None


def gpu_memory() -> str | None:
    """What a model may take of the GPU's memory, as it was written, or None to find out."""
    return os.environ.get("EDGERUN_GPU_MEMORY") or None
