"""What the shell offers after TAB: names of models for typer, and what bash needs on top. Knows no command."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, MutableMapping
from contextlib import redirect_stdout

_VARIABLE = "_EDGERUN_COMPLETE"   # set by the shell when it asks, to what it asks


def models(incomplete: str) -> list[str]:
    """Names that begin with `incomplete`. Nothing rather than an error: there is no place to show one."""
    try:
        return [name for name in _names() if name.startswith(incomplete)]
    except Exception:
        return []


def asked() -> bool:
    """Whether it is the shell that calls, to know what to offer."""
    return _VARIABLE in os.environ


def offer(answer: Callable[[], None]) -> None:
    """Print what `answer` prints for the shell. To bash, what stands after a colon is a word of its own (COMP_WORDBREAKS)."""
    before = join_colons(os.environ) if os.environ[_VARIABLE] == "complete_bash" else ""
    printed = io.StringIO()
    try:
        with redirect_stdout(printed):
            answer()
    finally:
        print("\n".join(line.removeprefix(before) for line in printed.getvalue().splitlines()))


def join_colons(environ: MutableMapping[str, str]) -> str:
    """Put words together that bash took apart at their colons: changes COMP_WORDS and COMP_CWORD, and returns the part of the
    word being typed that bash takes for finished."""
    words = environ.get("COMP_WORDS", "").split("\n")
    current = environ.get("COMP_CWORD", "")
    place = int(current) if current.isdecimal() else len(words) - 1
    joined: list[str] = []
    index = 0
    for number, word in enumerate(words):
        if len(joined) > 1 and (word.startswith(":") or joined[-1].endswith(":")):
            joined[-1] += word
        else:
            joined.append(word)
        if number == place:
            index = len(joined) - 1
    environ["COMP_WORDS"], environ["COMP_CWORD"] = "\n".join(joined), str(index)
    return joined[index][: joined[index].rfind(":") + 1]


def _names() -> list[str]:
    """What is here first, then what the catalogue knows."""
    from edgerun.hub.catalogue import Catalogue
    from edgerun.hub.store import Store

    known = [name for entry in Catalogue.load().entries.values() for name in (entry.name, *entry.aliases)]
    return list(dict.fromkeys([model.ref for model in Store().installed()] + known))
