"""Floor 3: architectures as data. The folder is the registry: a module that defines `spec` is a family, named as in GGUF ('-' as '_')."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from edgerun.errors import ModelError, Unsupported
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.nearest import nearest
from edgerun.models.spec import Spec

__all__ = ["Spec", "families", "spec_from"]


def families() -> dict[str, Callable[[Hyperparameters], Spec]]:
    """The spec function of every family by its module name; imports them all."""
    modules = {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}
    return {name: module.spec for name, module in modules.items() if hasattr(module, "spec")}


def spec_from(metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], Any]) -> Spec:
    """The spec of a model file.

    metadata: key to value; shapes: tensor name to shape, slowest dimension first; read(name): values of a small tensor as a
    float32 array. ModelError when a value is missing or makes no sense, Unsupported for an unknown architecture.
    """
    architecture = metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise ModelError("metadata key 'general.architecture' is missing or not text; the file does not say what model it holds")
    if not shapes:
        raise ModelError("the file has no tensors: it holds only a vocabulary or metadata, not a model")

    def open_file() -> Hyperparameters:
        return Hyperparameters(architecture, metadata, shapes, read)

    family = _family(architecture)
    if family is None:
        known = families()
        near = nearest(architecture, shapes, known, open_file)
        raise Unsupported(f"architecture {ascii(architecture)[:80]} is not supported; {near}. docs/adding.md says how to add one")
    return family(open_file())


def _family(architecture: str) -> Callable[[Hyperparameters], Spec] | None:
    name = architecture.replace("-", "_")
    if name not in {m.name for m in pkgutil.iter_modules(__path__)}:
        return None
    return getattr(importlib.import_module(f"{__name__}.{name}"), "spec", None)
