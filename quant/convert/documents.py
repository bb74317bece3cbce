"""The small files of a checkpoint folder: JSON and text, read within bounds. Knows not what they mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgerun.errors import ModelError
from edgerun.text.fields import shown

_MOST = 200_000_000   # bytes of a file; the largest tokenizer.json known has 35 million


class Documents:
    """The files of a folder by name; one that is missing is empty. Raises ModelError for one that is too large or makes no sense."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[str, dict[str, Any]] = {}

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.folder / name).is_file()

    def read(self, name: str) -> bytes:
        """The bytes of a file, none where it is missing."""
        path = self.folder / name
        if not path.is_file():
            return b""
        try:
            with path.open("rb") as file:
                content = file.read(_MOST + 1)
        except OSError as error:
            raise ModelError(f"{shown(name)}: cannot be read: {error.strerror or error}") from None
        if len(content) > _MOST:
            raise ModelError(f"{shown(name)}: has more than {_MOST:,} bytes")
        return content

    def text(self, name: str) -> str:
        """The text of a file in UTF-8, with or without a byte order mark."""
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ModelError(f"{shown(name)}: byte {error.start} is not UTF-8") from None

    def json(self, name: str) -> dict[str, Any]:
        """The object that a JSON file holds, empty where the file is missing. The same one each time: not to be changed."""
        if name not in self._known:
            self._known[name] = self._object(name)
        return self._known[name]

    @property
    def model_types(self) -> list[str]:
        """What config.json calls the model, and then the text model within it."""
        config = self.json("config.json")
        nested = config.get("text_config")
        values = (config.get("model_type"), nested.get("model_type") if isinstance(nested, dict) else None)
        return [value for value in values if isinstance(value, str)]

    def _object(self, name: str) -> dict[str, Any]:
        text = self.text(name)
        try:
            value = json.loads(text) if text else {}
            if r"\ud" in text.lower():
                json.dumps(value, ensure_ascii=False).encode()   # surrogates, which JSON allows, in pairs only
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{shown(name)}: is not JSON ({shown(str(error))})") from None
        if not isinstance(value, dict):
            raise ModelError(f"{shown(name)}: is not a JSON object")
        return value
