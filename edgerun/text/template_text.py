"""What a chat template may do with text: each operation asks its `Budget` first and carries the flags of `Quoted`.

Written against plain str and `Quoted` alike; knows Jinja only for looking up the fields of `str.format`.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from edgerun.text.quoted import Quoted, flags_of, gather, has_quoted, quote
from edgerun.text.template_budget import Budget

_PIECE = 64   # characters charged for a small str of its own
_CONVERSIONS: dict[str, Callable[[Any], str]] = {"s": str, "r": repr, "a": ascii}   # of format's {!s}
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_PERCENT = re.compile(
    r"%(?:\((?P<key>[^)]*)\))?(?P<flags>[#0\- +]*)(?P<width>\*|\d*)(?:\.(?P<precision>\*|\d*))?[hlL]?(?P<kind>.)", re.DOTALL
)


class Fields(Protocol):
    """Finds the value of a replacement field such as `0.name[key]`: string.Formatter, or jinja2's that keeps out of private attributes."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        """(value, first part of the name)."""
        ...


def _split_pieces(budget: Budget, text: str, sep: str | None = None, maxsplit: int = -1) -> int:
    if sep:
        return _PIECE * text.count(sep)
    return _PIECE * len(str.split(text, None, max(0, budget.memory // _PIECE) + 1))


def _replace_growth(budget: Budget, text: str, old: str, new: str, count: int = -1) -> int:
    times = text.count(old)
    return max(0, (min(times, count) if count >= 0 else times) * (len(new) - len(old)))


def _padding(budget: Budget, text: str, width: int, fill: str = " ") -> int:
    return max(0, width)


_PRICES: dict[str, Callable[..., int]] = {
    "split": _split_pieces,
    "rsplit": _split_pieces,
    "splitlines": lambda budget, text, keepends=False: _PIECE * sum(map(text.count, _LINE_ENDS)),
    "replace": _replace_growth,
    "center": _padding,
    "ljust": _padding,
    "rjust": _padding,
    "zfill": _padding,
}
METHODS = frozenset(_PRICES) | {
    *("capitalize", "casefold", "lower", "swapcase", "title", "upper"),
    *("count", "endswith", "find", "index", "rfind", "rindex", "startswith"),
    *("isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier"),
    *("islower", "isnumeric", "isprintable", "isspace", "istitle", "isupper"),
    *("format", "join", "lstrip", "partition", "removeprefix", "removesuffix", "rpartition", "rstrip", "strip"),
}


def call_method(budget: Budget, text: str, name: str, *args: Any, **kwargs: Any) -> Any:
    """`text.name(*args, **kwargs)` for a name of METHODS other than format."""
    budget.step()
    if name == "join":
        (parts,) = args
        return join(budget, text, parts)
    if price := _PRICES.get(name):
        budget.charge(price(budget, text, *args, **kwargs))
    if any(isinstance(arg, Quoted) for arg in args):
        text = Quoted.of(text, flags_of(text))   # so that Quoted's own methods run
    return budget.made(getattr(text, name)(*args, **kwargs))


def join(budget: Budget, separator: str, parts: Iterable[str]) -> str:
    """`separator.join(parts)`."""
    out: list[str] = []
    for part in parts:
        if not isinstance(part, str):
            raise TypeError(f"sequence item {len(out)}: expected str instance, {type(part).__name__} found")
        budget.charge(len(part) + len(separator))
        out.append(part)
    return Quoted.of(separator, flags_of(separator)).join(out)


def written(budget: Budget, value: Any) -> str:
    """`str(value)`, as output and the `~` operator write a value."""
    if isinstance(value, str):
        return value
    if not isinstance(value, (list, tuple, dict)):
        return str(value)
    budget.charge(4 * budget.weigh(value))   # of repr's escapes, few are longer
    return _marked(str(value), value)


def concatenate(budget: Budget, values: Iterable[Any]) -> str:
    """The values written one after the other."""
    parts = [written(budget, value) for value in values]
    budget.charge(sum(map(len, parts)))
    return gather(parts)


def percent(budget: Budget, pattern: str, values: Any) -> str:
    """`pattern % values`."""
    rest = list(values) if isinstance(values, tuple) else [values]
    parts, at = [], 0
    for spec in _PERCENT.finditer(pattern):
        parts.append(_no_percent(pattern[at : spec.start()]))
        at = spec.end()
        if spec["kind"] == "%":
            parts.append("%")
            continue
        if spec["key"] is not None:
            value, rest = values[spec["key"]], []
        elif rest:
            value = rest.pop(0)
        else:
            raise TypeError("not enough arguments for format string")
        budget.charge(4 * budget.weigh(value) + _number(spec["width"]) + _number(spec["precision"]))
        bare = spec.group() == "%s" and isinstance(value, str)
        layout = "%" + spec["flags"] + spec["width"] + ("" if spec["precision"] is None else "." + spec["precision"]) + spec["kind"]
        parts.append(value if bare else _marked(layout % (value,), value))
    if rest and (isinstance(values, (tuple, str)) or not hasattr(values, "__getitem__")):
        raise TypeError("not all arguments converted during string formatting")
    parts.append(_no_percent(pattern[at:]))
    return budget.made(gather(parts))


def format_text(budget: Budget, fields: Fields, pattern: str, args: Any, kwargs: Any) -> str:
    """`pattern.format(*args, **kwargs)`."""
    return budget.made(gather(_format_parts(budget, fields, pattern, args, kwargs, itertools.count())))


def _format_parts(budget: Budget, fields: Fields, pattern: str, args: Any, kwargs: Any, numbers: Iterator[int]) -> Iterator[str]:
    import string

    for literal, field, spec, conversion in string.Formatter().parse(str.__str__(pattern)):
        budget.step()
        yield _marked(literal, pattern)
        if field is None:
            continue
        name = f"{next(numbers)}{field}" if field[:1] in ("", ".", "[") else field
        value = fields.get_field(name, args, kwargs)[0]
        if "{" in (spec or ""):
            spec = gather(_format_parts(budget, fields, spec or "", args, kwargs, numbers))
        budget.charge(4 * budget.weigh(value) + sum(map(_number, re.findall(r"\d+", spec or ""))))
        if conversion:
            value = _marked(_CONVERSIONS[conversion](value), value)
        yield value if isinstance(value, str) and not spec else _marked(format(value, spec or ""), (value, spec))



def to_json(
    budget: Budget, value: Any, ensure_ascii: bool = False, indent: int | str | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """`json.dumps` with the options that templates use; unlike jinja2's own filter it escapes nothing for HTML."""
    budget.charge(budget.weigh(value) * (6 + sum(map(len, separators or ()))))   # 6: a control character becomes \\u0001
    budget.charge(_number(str(indent)) if isinstance(indent, int) else len(indent or ""))
    coder = json.JSONEncoder(ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
    chunks = (coder.encode(value),) if indent is None else coder.iterencode(value)
    parts = []
    for chunk in chunks:   # only indents can grow far beyond the weight
        budget.charge(len(chunk))
        parts.append(chunk)
    return _marked("".join(parts), (value, indent, separators))


def _marked(text: str, source: Any) -> str:
    """`text`, quoted if anything in `source` is."""
    return quote(text) if has_quoted(source) else text


def _no_percent(literal: str) -> str:
    if "%" in literal:
        raise ValueError("incomplete format")
    return literal


def _number(digits: str | None) -> int:
    if digits == "*":
        raise TypeError("a width of * is not supported")
    return int(digits) if digits and digits.isdigit() else 0
