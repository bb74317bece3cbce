"""Large language models on the machine in front of you: GGUF files, kernels compiled here, one command.

>>> import edgerun
>>> with edgerun.load("smollm2:135m") as llm:
...     answer = "".join(llm.generate("The capital of France is", max_tokens=2, temperature=0.0))
>>> answer
' Paris.'

Importing this package imports nothing else: every name is fetched when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from edgerun.api import load, load_template, load_tokenizer, memory_plan, render_template
    from edgerun.backends.executor import MemoryPlan
    from edgerun.engine.sampling import Sampling
    from edgerun.engine.stats import Stats
    from edgerun.errors import (
        DeviceError,
        EdgerunError,
        GGUFError,
        ModelError,
        OutputError,
        ResourceError,
        SourceError,
        TemplateError,
        TokenizerError,
        Unsupported,
        UsageError,
    )
    from edgerun.llm import LLM
    from edgerun.reading import Label
    from edgerun.stream import Piece, Reply, Stream
    from edgerun.text.toolcalls import ToolCall

__all__ = [
    "LLM",
    "DeviceError",
    "EdgerunError",
    "GGUFError",
    "Label",
    "MemoryPlan",
    "ModelError",
    "OutputError",
    "Piece",
    "Reply",
    "ResourceError",
    "Sampling",
    "SourceError",
    "Stats",
    "Stream",
    "TemplateError",
    "TokenizerError",
    "ToolCall",
    "Unsupported",
    "UsageError",
    "__version__",
    "load",
    "load_template",
    "load_tokenizer",
    "memory_plan",
    "render_template",
]

_PLACES = {
    "edgerun.api": ("load", "load_template", "load_tokenizer", "memory_plan", "render_template"),
    "edgerun.backends.executor": ("MemoryPlan",),
    "edgerun.engine.sampling": ("Sampling",),
    "edgerun.engine.stats": ("Stats",),
    "edgerun.errors": (
        "DeviceError", "EdgerunError", "GGUFError", "ModelError", "OutputError", "ResourceError", "SourceError", "TemplateError", "TokenizerError",
        "Unsupported", "UsageError",
    ),
    "edgerun.llm": ("LLM",),
    "edgerun.reading": ("Label",),
    "edgerun.stream": ("Piece", "Reply", "Stream"),
    "edgerun.text.toolcalls": ("ToolCall",),
}  # fmt: skip
_PLACE_OF = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PLACE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
