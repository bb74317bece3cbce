"""Floor 3: architectures as data. The folder is the registry: a module that defines `spec` is a family, named as in GGUF ('-' as '_')."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

from edgerun.errors import ModelError, Unsupported
from edgerun.models.hyperparameters import Hyperparameters
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
    return _family(architecture)(Hyperparameters(architecture, metadata, shapes, read))


def _family(architecture: str) -> Callable[[Hyperparameters], Spec]:
    name = architecture.replace("-", "_")
    if name in {m.name for m in pkgutil.iter_modules(__path__)} and (spec := getattr(importlib.import_module(f"{__name__}.{name}"), "spec", None)):
        return spec
    known = families()
    nearest = difflib.get_close_matches(name[:80], known, n=1, cutoff=0.0)[0]
    raise Unsupported(
        f"architecture {ascii(architecture)[:80]} is not supported; the nearest of {len(known)} supported ones is '{nearest}', and docs/adding.md says how to add one"
    )
