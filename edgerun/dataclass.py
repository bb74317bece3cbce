"""`dataclass(frozen=True)` for modules that every start imports. Knows no class, no `field`, and nothing standard inherits from it.

The standard one compiles five functions for each class, 0.4 to 1 ms in all, and there are well over a hundred. Here classes share them;
to `dataclasses.fields`, `replace` and type checkers they are what they are otherwise.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(*, frozen: bool) -> Callable[[type], type]:
        """A class decorator. Instances are equal when they are of one class and all of their fields are equal."""
        assert frozen, "what may change has no use for this"
        return _frozen


def _frozen(cls: type) -> type:
    cls = dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    fields = dataclasses.fields(cls)
    defaults = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    cls._names, cls._defaults = tuple(field.name for field in fields), defaults   # type: ignore[attr-defined]
    for method in (__init__, __repr__, __eq__, __hash__, __setattr__, __delattr__):
        setattr(cls, method.__name__, method)
    return cls


def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
    names, values = self._names, self.__dict__
    values.update(self._defaults)
    values.update(zip(names, args, strict=False))
    values.update(kwargs)
    if len(args) > len(names) or len(values) != len(names) or not kwargs.keys().isdisjoint(names[: len(args)]):
        raise TypeError(f"{type(self).__name__} takes {', '.join(names)}; it was given {len(args)} values and {', '.join(kwargs) or 'no names'}")
    if post := getattr(self, "__post_init__", None):
        post()


def __repr__(self: Any) -> str:
    return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._names)})"


def __eq__(self: Any, other: object) -> Any:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def __hash__(self: Any) -> int:
    return hash((self.__class__, *_values(self)))


def _values(of: Any) -> tuple[Any, ...]:
    """Those of its fields: what properties keep beside them does not count."""
    return tuple(map(of.__dict__.__getitem__, of._names))


def __setattr__(self: Any, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")


def __delattr__(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")
