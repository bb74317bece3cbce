"""The chat templates of a checkpoint: `tokenizer.chat_template`, and others by name. Knows not what they do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from edgerun.errors import TemplateError
from quant.convert.documents import Documents

_KEY = "tokenizer.chat_template"
_MOST = 100   # named templates


def chat_templates(documents: Documents) -> Iterator[tuple[str, Any, str | None]]:
    """The GGUF keys, values and types; raises TemplateError.

    A file of its own goes before what tokenizer_config.json has, as in Hugging Face's own code.
    """
    templates = _from_files(documents) or _from_values(documents.json("tokenizer_config.json").get("chat_template"))
    if len(templates) > _MOST:
        raise TemplateError(f"tokenizer_config.json: more than {_MOST} chat templates")
    names = [name for name in templates if name != "default"]
    for name in names:
        yield f"{_KEY}.{name}", templates[name], "str"
    if names:
        yield "tokenizer.chat_templates", names, "str"
    if "default" in templates:
        yield _KEY, templates["default"], "str"


def _from_files(documents: Documents) -> dict[str, str]:
    if not documents.has("chat_template.jinja"):
        return _from_values(documents.json("chat_template.json").get("chat_template"))
    more = sorted((documents.folder / "additional_chat_templates").glob("*.jinja"))[: _MOST + 1]
    named = {_plain(path.stem): documents.text(f"additional_chat_templates/{path.name}") for path in more}
    return {**named, "default": documents.text("chat_template.jinja")}


def _from_values(values: Any) -> dict[str, str]:
    """A template, or a list of {"name", "template"}, or a dictionary by name."""
    if values is None:
        return {}
    if isinstance(values, str):
        return {"default": values}
    if isinstance(values, list) and all(isinstance(each, dict) and isinstance(each.get("name"), str) for each in values):
        values = {each["name"]: each.get("template") for each in values}
    if not isinstance(values, dict) or not all(isinstance(each, str) for each in (*values, *values.values())):
        raise TemplateError("the checkpoint's chat_template is neither text nor a list of names and templates")
    return {_plain(name): template for name, template in values.items()}


def _plain(name: str) -> str:
    """A name as it can stand in a key."""
    return re.sub("[^A-Za-z0-9]", "_", name)
