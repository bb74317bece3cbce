"""A conversation: what was said, and how it is kept in a file. Knows neither a model nor a terminal."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgerun import config
from edgerun.errors import UsageError

_FORMAT, _VERSION = "edgerun chat", 1
_LARGEST = 64 << 20   # bytes of a saved conversation


@dataclass
class Conversation:
    """Questions and answers in turn, after what the model is told before (`system`)."""

    system: str | None = None
    messages: list[dict[str, str]] = field(default_factory=list)

    def request(self) -> list[dict[str, str]]:
        """All messages, as a chat template takes them."""
        return ([{"role": "system", "content": self.system}] if self.system else []) + self.messages

    def add(self, role: str, content: str) -> None:
        """Say something as `user` or `assistant`."""
        self.messages.append({"role": role, "content": content})

    def undo(self) -> str | None:
        """Take back the last question and what came after it; the question, None when there is none."""
        while self.messages:
            message = self.messages.pop()
            if message["role"] == "user":
                return message["content"]
        return None

    def save(self, path: Path, model: str) -> None:
        """Write the conversation. UsageError when that fails, or when there is another kind of file in its place."""
        if path.exists():
            self.load(path)
        text = json.dumps({"format": _FORMAT, "version": _VERSION, "model": model, "system": self.system, "messages": self.messages}, indent=1)
        part = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise UsageError(f"the chat could not be saved in {str(path)!a}: {error.strerror}") from error

    @classmethod
    def load(cls, path: Path) -> Conversation:
        """The conversation in that file. UsageError when it cannot be read or is not one."""
        try:
            with open(path, "rb") as file:
                data = file.read(_LARGEST + 1)
        except OSError as error:
            raise UsageError(f"the chat {str(path)!a} cannot be read: {error.strerror}") from error
        try:
            return cls._checked(json.loads(data) if len(data) <= _LARGEST else None)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{str(path)!a} is not a chat that edgerun saved ({error})") from error

    @classmethod
    def _checked(cls, value: Any) -> Conversation:
        """The conversation in parsed JSON; ValueError, with what is wrong, when it is not one."""
        if not isinstance(value, Mapping) or value.get("format") != _FORMAT:
            raise ValueError(f"it does not say {_FORMAT!r}")
        if value.get("version") != _VERSION:
            raise ValueError(f"its version is not {_VERSION}; update edgerun")
        system, messages = value.get("system"), value.get("messages")
        if not isinstance(system, str | None) or not isinstance(messages, list):
            raise ValueError("system or messages are of the wrong type")
        conversation = cls(system)
        for number, message in enumerate(messages):
            expected = ("user", "assistant")[number % 2]
            if not isinstance(message, Mapping) or message.get("role") != expected or not isinstance(message.get("content"), str):
                raise ValueError(f"message {number} is not what the {expected} says")
            conversation.add(expected, message["content"])
        return conversation


def chat_file(name: str) -> Path:
    """Where a chat called `name` is kept: a path if it looks like one, else a name in the folder of chats."""
    if os.sep in name or name.endswith(".json"):
        return Path(name).expanduser()
    return config.chats_folder() / f"{name}.json"


def saved_chats() -> list[str]:
    """Names of the chats in the folder of chats."""
    return sorted(path.stem for path in config.chats_folder().glob("*.json"))
