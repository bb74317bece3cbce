"""Floor 1: block formats as data. The folder is the registry: every module that defines FORMAT is a format."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from edgerun.errors import Unsupported
from edgerun.formats.format import Format


@functools.cache
def all_formats() -> dict[int, Format]:
    """Every format by its GGML type id."""
    modules = (importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__))
    return {m.FORMAT.id: m.FORMAT for m in modules if hasattr(m, "FORMAT")}


def by_id(type_id: int) -> Format:
    """The format of a GGML type id; Unsupported when edgerun does not compute it."""
    try:
        return all_formats()[type_id]
    except KeyError:
        raise Unsupported(f"tensor type {type_id} is not computed by edgerun; convert the model to one of {_names()}") from None


def by_name(name: str) -> Format:
    """The format called `name` ("Q4_K"); Unsupported when there is none."""
    for f in all_formats().values():
        if f.name == name:
            return f
    raise Unsupported(f"there is no tensor type {ascii(name)[:80]}; edgerun computes {_names()}")


def _names() -> str:
    """Every format's name, for messages."""
    return ", ".join(sorted(f.name for f in all_formats().values()))
