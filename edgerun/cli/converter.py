"""The text of an option to its value: text, flag, number within bounds, one of some words. Knows no option by name.

Newer typers convert by pydantic, whose import takes as long as everything else that a command needs before its work. They
ask each parameter for its converter; this one takes that place where it can, and changes nothing where nobody asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args, get_origin

import typer

_FLAGS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False, "": False}


class Converter:
    """For one value, or a list of them, of type `kind`."""

    def __init__(self, kind: Any, minimum: float | None = None, maximum: float | None = None) -> None:
        self.kind, self.minimum, self.maximum = kind, minimum, maximum

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """`value` as the parser of typer wants it; typer.BadParameter when it makes no sense."""
        try:
            if param.multiple or param.nargs == -1:
                return [self._one(item) for item in value or ()]
            return None if value is None else self._one(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from error

    def _one(self, value: Any) -> Any:
        if not isinstance(value, str):   # a default is what it should be
            return value
        if get_origin(self.kind) is Literal:
            return _word(value, get_args(self.kind))
        if self.kind is bool:
            return _FLAGS[_word(value.lower(), list(_FLAGS), shown="1 0")]
        return self._number(value) if self.kind in (int, float) else value

    def _number(self, text: str) -> float:
        what = "a whole number" if self.kind is int else "a number"
        try:
            number: float = self.kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is not {what}") from None
        if not math.isfinite(number):
            raise ValueError(f"{text!r} is not {what}")
        if self.minimum is not None and number < self.minimum:
            raise ValueError(f"{text} is less than {self.minimum}")
        if self.maximum is not None and number > self.maximum:
            raise ValueError(f"{text} is more than {self.maximum}")
        return number


def lighten(parameters: Sequence[Any]) -> None:
    """Have these parameters of a click command converted here, as far as their types are known here."""
    for parameter in parameters:
        kind = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
        if get_origin(kind) is list:
            (kind,) = get_args(kind)
        if kind in (str, int, float, bool) or get_origin(kind) is Literal:
            parameter.get_runtime_param = _constant(Converter(kind, parameter.min, parameter.max))


def _constant(converter: Converter) -> Callable[[], Converter]:
    return lambda: converter


def _word(text: str, words: Sequence[str], shown: str = "") -> str:
    if text not in words:
        raise ValueError(f"{text!r} is none of {', '.join(shown.split() or words)}")
    return text
