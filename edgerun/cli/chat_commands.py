"""The /commands of a chat, one method each. Knows no editor; what it says goes to stderr, which is not part of the conversation."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING

from edgerun.cli.clean import clean
from edgerun.cli.conversation import Conversation, chat_file, saved_chats

if TYPE_CHECKING:
    from edgerun.cli.chat import Chat

# Name: (what it takes, what it does); the method of ChatCommands has the same name.
COMMANDS = {
    "help": ("", "show this list"),
    "system": ("[TEXT]", "tell the model something before the conversation, or show what it was told"),
    "clear": ("", "begin again; what the system text says stays"),
    "undo": ("", "take back your last message and the answer to it"),
    "regen": ("", "have the last message answered again"),
    "save": ("[NAME]", "keep the conversation in a file"),
    "load": ("[NAME]", "go on with a saved conversation, or list them"),
    "stats": ("", "say what the last answer cost"),
    "exit": ("", "leave, as Ctrl-D does"),
}
_KEYS = "Alt-Enter, or a backslash at the end of a line, begins a new line. Ctrl-C stops an answer and keeps what was said.\n// at the beginning stands for a / that is no command."
_LINE = re.compile(r"/([A-Za-z]+)(?:\s+(.*))?", re.DOTALL)


class Leave(Exception):
    """/exit was typed."""


def say(text: str) -> None:
    """Tell the user something beside the conversation."""
    with suppress(OSError, AttributeError):
        sys.stderr.write(clean(text) + "\n")
        sys.stderr.flush()


class ChatCommands:
    """What /commands do to a chat."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self._methods: dict[str, Callable[[str], None]] = {name: getattr(self, f"_{name}") for name in COMMANDS}

    def handle(self, line: str) -> bool:
        """Do what `line` says if it is a command, and say whether it was one. UsageError from loading and saving, Leave from /exit."""
        match = _LINE.fullmatch(line.strip())
        if not match:
            return False
        name, argument = match[1].lower(), (match[2] or "").strip()
        if name in self._methods:
            self._methods[name](argument)
        else:
            say(f"/{name} is not a command; /help lists them")
        return True

    def _help(self, argument: str) -> None:
        rows = [(f"/{name} {takes}", does) for name, (takes, does) in COMMANDS.items()]
        say("\n".join(f"{left:<15} {right}" for left, right in rows) + f"\n{_KEYS}")

    def _system(self, argument: str) -> None:
        if argument:
            self.chat.conversation.system = argument
        say(f"the model is told: {self.chat.conversation.system}" if self.chat.conversation.system else "the model is told nothing; /system TEXT changes that")

    def _clear(self, argument: str) -> None:
        self.chat.conversation.messages.clear()
        say("a new conversation begins")

    def _undo(self, argument: str) -> None:
        question = self.chat.conversation.undo()
        say("there is nothing to take back" if question is None else f"taken back: {_short(question)}")

    def _regen(self, argument: str) -> None:
        conversation = self.chat.conversation
        before = list(conversation.messages)
        question = conversation.undo()
        if question is None:
            say("there is nothing to answer again")
            return
        try:
            self.chat.ask(question, again=True)
        except BaseException:
            conversation.messages = before
            raise

    def _save(self, argument: str) -> None:
        name = argument or datetime.now().strftime("%Y-%m-%d-%H%M%S")
        path = chat_file(name)
        self.chat.conversation.save(path, self.chat.model)
        say(f"saved in {path}")

    def _load(self, argument: str) -> None:
        if not argument:
            say("\n".join(saved_chats()) or "no conversation was saved yet; /save NAME keeps one")
            return
        self.chat.conversation = Conversation.load(chat_file(argument))
        messages = self.chat.conversation.messages
        say(f"{len(messages)} message{'' if len(messages) == 1 else 's'}; the last: {_short(messages[-1]['content'])}" if messages else "it is empty")

    def _stats(self, argument: str) -> None:
        self.chat.say_stats()

    def _exit(self, argument: str) -> None:
        raise Leave


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else line[:67] + "..."
