"""Where the lines of a chat come from: a line editor on a terminal, plain lines from anything else. Knows nothing of chats."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edgerun.cli.prompt import LARGEST, text_of
from edgerun.cli.terminal import is_terminal

if TYPE_CHECKING:
    from prompt_toolkit.key_binding import KeyBindings
    from prompt_toolkit.key_binding.key_processor import KeyPressEvent

PROMPT, CONTINUED = ">>> ", "... "


class Editor(Protocol):
    """Gives what the user types, a message at a time."""

    interactive: bool

    def read(self) -> str | None:
        """The next message, which may have several lines; None at the end (Ctrl-D)."""
        ...


def open_editor(history: Path, words: Sequence[str]) -> Editor:
    """The editor for this standard input. history: file of what was typed before; words: offered after TAB."""
    if is_terminal(sys.stdin) and is_terminal(sys.stdout):
        return LineEditor(history, words)
    return PlainLines()


class PlainLines:
    """Lines of standard input as they are; one that ends with a backslash goes on in the next."""

    interactive = False

    def read(self) -> str | None:
        """The next message."""
        lines: list[str] = []
        while sys.stdin is not None and (data := sys.stdin.buffer.readline(LARGEST + 1)):
            lines.append(text_of(data, "a line of standard input"))
            if not lines[-1].endswith("\\"):
                break
            lines[-1] = lines[-1][:-1]
        return "\n".join(lines) if lines else None


class LineEditor:
    """prompt_toolkit's editor, imported here. Enter sends; Alt-Enter and a backslash at the end begin a new line, a paste may hold several."""

    interactive = True

    def __init__(self, history: Path, words: Sequence[str]) -> None:
        from prompt_toolkit import PromptSession
        from prompt_toolkit.completion import WordCompleter
        from prompt_toolkit.history import FileHistory, History, InMemoryHistory

        kept: History = FileHistory(str(history)) if _private_file(history) else InMemoryHistory()
        self._session: PromptSession[str] = PromptSession(
            history=kept,
            multiline=True,
            prompt_continuation=CONTINUED,
            key_bindings=_keys(),
            completer=WordCompleter(list(words), sentence=True),
            complete_while_typing=False,
            enable_open_in_editor=True,
        )

    def read(self) -> str | None:
        """The next message. KeyboardInterrupt for Ctrl-C."""
        try:
            return self._session.prompt(PROMPT)
        except EOFError:
            return None


def _keys() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _private_file(path: Path) -> bool:
    """Make sure that `path` is a file only its owner reads; False when it cannot be one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError:
        return False
    return True
