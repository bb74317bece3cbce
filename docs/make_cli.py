"""Writes the help pages of all commands into docs/cli.md; with --check says whether they are there already.

Run it after a change of an option: python docs/make_cli.py
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("cli.md")
_BLOCK = re.compile(r"(<!-- help: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(arguments: list[str]) -> int:
    """0 when the page is as it should be now, 1 when a check found a difference."""
    old = PAGE.read_text(encoding="utf-8")
    new = _BLOCK.sub(lambda match: f"{match[1]}```\n$ {match[2]} --help\n{help_page(match[2])}\n```\n{match[3]}", old)
    if "--check" in arguments:
        return int(old != new)
    PAGE.write_text(new, encoding="utf-8")
    return 0


def help_page(typed: str) -> str:
    """What `edgerun ... --help` prints on a terminal of 100 columns."""
    from edgerun.cli.group import build

    os.environ["COLUMNS"] = "100"
    command: Any = build()
    context: Any = None
    for name in typed.split():
        command = command.commands[name] if context else command
        context = command.context_class(command, info_name=name, parent=context, **command.context_settings)
    return str(command.get_help(context))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
