"""The Jinja filters a chat template may use: jinja2's own where they are harmless, ours where they are not.

Every one counts a step, pays for what it makes, and never turns quoted text into unquoted. Left out are those that no
chat template needs and that are slow or random by nature: pprint, random, striptags, urlize, wordwrap, xmlattr.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from jinja2 import Environment
from jinja2.filters import FILTERS, make_attrgetter
from markupsafe import escape

from edgerun.text import template_text as text
from edgerun.text.quoted import Quoted, flags_of, has_quoted, pieces, quote, quote_all
from edgerun.text.template_budget import Budget

_DROPPED = frozenset({"pprint", "random", "striptags", "urlize", "wordwrap", "xmlattr"})
_WRITERS = frozenset({"title", "truncate", "urlencode", "filesizeformat"})   # make text in ways that lose the flags
_MOST_ITEMS = 10_000   # per row of batch, or rows of slice


class _Safe(Quoted):
    """Text that the filter `safe` declared to be HTML: what is added to it with + is escaped, as jinja2 does."""

    def __add__(self, other: str) -> str:
        return _Safe.of(*_joined(self, _escaped(other))) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> str:
        return _Safe.of(*_joined(_escaped(other), self)) if isinstance(other, str) else NotImplemented


def _joined(left: str, right: str) -> tuple[str, bytes]:
    return str.__add__(left, right), flags_of(left) + flags_of(right)


def _escaped(text: str) -> str:
    if isinstance(text, _Safe):
        return text
    parts = [(str.__str__(escape(stretch)), own) for stretch, own in pieces(text)]
    return _Safe.of("".join(part for part, _ in parts), b"".join(bytes([not own]) * len(part) for part, own in parts))


def filters_for(environment: Environment, budget: Callable[[], Budget]) -> dict[str, Callable[..., Any]]:
    """The table of filters by name; `budget()` is the one of the rendering that runs."""
    table = {name: filter for name, filter in FILTERS.items() if name not in _DROPPED}
    table.update(_our_filters(environment, budget))
    return {name: _guarded(name, filter, budget) for name, filter in table.items()}


def _our_filters(environment: Environment, budget: Callable[[], Budget]) -> dict[str, Callable[..., Any]]:
    def method(name: str) -> Callable[..., str]:
        return lambda value, *args, **kwargs: text.call_method(budget(), string(value), name, *args, **kwargs)

    def string(value: Any) -> str:
        return text.written(budget(), value)

    def center(value: Any, width: int = 80) -> str:
        return text.call_method(budget(), string(value), "center", width)

    def replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
        return text.call_method(budget(), string(value), "replace", string(old), string(new), -1 if count is None else count)

    def join(value: Any, d: Any = "", attribute: Any = None) -> str:
        if attribute is not None:
            value = map(make_attrgetter(environment, attribute), value)
        return text.join(budget(), string(d), map(string, value))

    def indent(value: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
        lead = width if isinstance(width, str) else " " * width
        lines = (value + "\n").splitlines()
        rest = [lead + line if line or blank else line for line in lines[1:]]
        return text.join(budget(), "\n", [lead + lines[0] if first else lines[0], *rest])

    def format(value: Any, *args: Any, **kwargs: Any) -> str:
        return text.percent(budget(), string(value), kwargs or args)

    def tojson(value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
        return text.to_json(budget(), value, ensure_ascii, indent, separators, sort_keys)

    def from_json(value: str) -> Any:
        budget().charge(32 * len(value))
        return quote_all(json.loads(value)) if isinstance(value, Quoted) else json.loads(value)

    def safe(value: Any) -> str:
        plain = string(value)
        return _Safe.of(plain, flags_of(plain))

    def escaped(value: Any) -> str:
        return _escaped(string(value))

    def rounded(value: float, precision: int = 0, method: str = "common") -> float:
        if abs(precision) > 300:
            raise ValueError("round: too many digits")
        return FILTERS["round"](value, precision, method)

    def total(iterable: Any, attribute: Any = None, start: float = 0) -> float:
        if attribute is not None:
            iterable = map(make_attrgetter(environment, attribute), iterable)
        for item in iterable:
            if not isinstance(start, (int, float)) or not isinstance(item, (int, float)):
                raise TypeError("sum: only numbers can be added")   # lists would be copied over and over
            start = start + item
        return start

    return {
        **{name: method(name) for name in ("capitalize", "lower", "upper")},
        **dict.fromkeys(("e", "escape", "forceescape"), escaped),
        "trim": method("strip"),
        "center": center,
        "replace": replace,
        "join": join,
        "indent": indent,
        "format": format,
        "string": string,
        "tojson": tojson,
        "from_json": from_json,
        "round": rounded,
        "sum": total,
        "safe": safe,
    }


def _guarded(name: str, filter: Callable[..., Any], budget: Callable[[], Budget]) -> Callable[..., Any]:
    first = 1 if hasattr(filter, "jinja_pass_arg") else 0   # jinja2 passes the environment or the context before the value

    @functools.wraps(filter)
    def run(*args: Any, **kwargs: Any) -> Any:
        allowance = budget()
        allowance.step()
        _charge(name, allowance, args[first:], kwargs)
        result = filter(*args, **kwargs)
        if name in _WRITERS and has_quoted([*args[first:], kwargs]):
            result = quote(result)
        return allowance.made(result)

    return run


def _charge(name: str, budget: Budget, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    value = args[0] if args else None
    if name in ("batch", "slice"):
        counts = [item for item in (*args[1:], *kwargs.values()) if isinstance(item, int)]
        if any(count > _MOST_ITEMS for count in counts):
            raise ValueError(f"{name}: more than {_MOST_ITEMS} items")
    if isinstance(value, str):
        if name in ("batch", "groupby", "list", "slice", "sort", "title", "unique"):
            budget.charge(64 * len(value))   # a str of its own for each character or word
        elif name == "wordcount":
            budget.charge(32 * len(value))
        elif name == "indent":
            width = args[1] if len(args) > 1 else kwargs.get("width", 4)
            budget.charge((value.count("\n") + 2) * (len(width) if isinstance(width, str) else max(0, width)) + 64 * value.count("\n"))
        elif name == "int" and len(value) > 4096:
            raise ValueError("int: too many digits")
