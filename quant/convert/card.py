"""Who made a model, of what, under which licence, and how to sample: `general.*`, from README.md and generation_config.json.

Of the YAML at the top of a README.md only lines `key: value` and plain lists are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from quant.convert.documents import Documents
from quant.convert.model_name import ModelName, title

Entry = tuple[str, Any, str | None]
Card = dict[str, str | list[str]]

_MOST_LINES, _MOST_ITEMS, _LONGEST = 2000, 1000, 10_000   # of the card, of a list, characters of a value
_LINE = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*):[ \t]*(.*)")
_ITEM = re.compile(r"[ \t]*-[ \t]+(.*)")
_QUOTED = re.compile(r"""(['"])((?:(?!\1).)*)\1\s*(?:\s#.*)?""")
_HUB = re.compile(r"https?://huggingface\.co/(?:datasets/)?([^/\s]+/[^/\s]+)/?")
_HASH = re.compile(r"[0-9a-f]{40}")   # the folder of a revision in the hub's cache
# Keys of generation_config.json, in GGUF `general.sampling.*`.
_SAMPLING = {
    "sequence": ("sequence", "str"), "top_k": ("top_k", "i32"), "top_p": ("top_p", "f32"), "min_p": ("min_p", "f32"), "temperature": ("temp", "f32"),
    "xtc_probability": ("xtc_probability", "f32"), "xtc_threshold": ("xtc_threshold", "f32"), "penalty_last_n": ("penalty_last_n", "i32"),
    "repetition_penalty": ("penalty_repeat", "f32"), "penalty_repeat": ("penalty_repeat", "f32"), "mirostat": ("mirostat", "i32"),
    "mirostat_tau": ("mirostat_tau", "f32"), "mirostat_eta": ("mirostat_eta", "f32"),
}  # fmt: skip


def card(folder: Path, weights: int = 0, name: str | None = None) -> list[Entry]:
    """GGUF keys, values and the writer's types of `general.*` that describe the model.

    weights: how many it has, 0 for unknown. name: `user/name` of the repository where that is known. `general.size_label` is there
    only where the name or the card says it. Raises ModelError for JSON that makes no sense; a card that makes none says nothing.
    """
    documents = Documents(folder)
    written = _front(documents)
    return [*_who(documents, written, weights, name), *_origins(written), *_sampling(documents)]


def _who(documents: Documents, written: Card, weights: int, name: str | None) -> Iterator[Entry]:
    parts: dict[str, str] = {}
    for source in (name, documents.json("config.json").get("_name_or_path"), _folder(documents.folder)):
        if isinstance(source, str) and source.count("/") <= 1:
            found = ModelName.parse(source, weights)
            titled = {"name": found.name and title(found.name), "organization": found.organization and title(found.organization)}
            for key, value in {**vars(found), **titled}.items():
                if value:
                    parts.setdefault(key, value)
    for key in ("name", "author", "version", "organization", "finetune", "basename", "size_label", "description"):
        value = _one(written, key) or _one(written, f"model_{key}") or (_one(written, "model_creator") if key == "author" else None) or parts.get(key)
        if value:
            yield f"general.{key}", value, "str"
    licence = written.get("license")
    if licence:
        yield "general.license", ",".join(licence) if isinstance(licence, list) else licence, "str"
    for key in ("name", "link"):
        if value := _one(written, f"license_{key}"):
            yield f"general.license.{key}", value, "str"


def _origins(written: Card) -> Iterator[Entry]:
    """Models and data that this one was made of, tags, languages."""
    for key, names in (("base_model", ("base_model", "base_models")), ("dataset", ("datasets", "dataset"))):
        items = _many(written, *names[:1]) or _many(written, *names[1:])
        if items:
            yield f"general.{key}.count", len(items), "u32"
        for at, item in enumerate(items):
            for part, value in _origin(item):
                yield f"general.{key}.{at}.{part}", value, "str"
    for key, values in (("tags", _many(written, "tags", "pipeline_tag")), ("languages", _many(written, "languages", "language"))):
        if values:
            yield f"general.{key}", values, "str"


def _origin(item: str) -> Iterator[tuple[str, str]]:
    address = item if "://" in item else None
    hub = _HUB.fullmatch(item)
    found = ModelName.parse(hub[1] if hub else item) if hub or not address else ModelName()
    if found.name:
        yield "name", title(found.name)
    if found.version:
        yield "version", found.version
    if found.organization:
        yield "organization", title(found.organization)
    if address or found.organization:
        yield "repo_url", address or f"https://huggingface.co/{item}"


def _sampling(documents: Documents) -> Iterator[Entry]:
    """The sampling that the makers advise."""
    advised = documents.json("generation_config.json")
    for name, (key, kind) in _SAMPLING.items():
        value = advised.get(name)
        whole = kind == "i32"
        if isinstance(value, str) and kind == "str":
            yield f"general.sampling.{key}", value, kind
        elif isinstance(value, int | float) and not isinstance(value, bool) and kind != "str" and abs(value) < 1 << 31 and (not whole or value == int(value)):
            yield f"general.sampling.{key}", int(value) if whole else float(value), kind


def _folder(folder: Path) -> str:
    """What the folder is called; in the hub's cache, the repository."""
    path = folder.resolve()
    if _HASH.fullmatch(path.name) and path.parent.name == "snapshots":
        return path.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    return path.name


def _front(documents: Documents) -> Card:
    """The values at the top of README.md, between two lines `---`."""
    lines = documents.read("README.md")[: _MOST_LINES * 200].decode("utf-8", "replace").splitlines()[:_MOST_LINES]
    found: Card = {}
    if not lines or lines[0].strip("\ufeff \t") != "---":
        return found
    items: list[str] | None = None
    for line in lines[1:]:
        if line.rstrip() == "---":
            break
        if items is not None and (item := _ITEM.fullmatch(line)):
            if ": " not in item[1] and len(items) < _MOST_ITEMS and (value := _scalar(item[1])):
                items.append(value)
        elif pair := _LINE.fullmatch(line):
            items = None
            if not pair[2].strip() or pair[2].lstrip().startswith("#"):
                items = found[pair[1]] = []
            elif pair[2].startswith("["):
                found[pair[1]] = [value for part in pair[2].strip().strip("[]").split(",")[:_MOST_ITEMS] if (value := _scalar(part))]
            elif value := _scalar(pair[2]):
                found[pair[1]] = value
    return {key: value for key, value in found.items() if value}


def _scalar(text: str) -> str:
    """A plain or quoted value; nothing for what YAML would make something else of."""
    text = text.strip()
    if quoted := _QUOTED.fullmatch(text):
        text = quoted[2]
    elif text[:1] in ("{", "[", "|", ">", "&", "*", "!"):
        return ""
    else:
        text = re.split(r"\s#", text)[0].rstrip()
    return text if text.isprintable() and len(text) <= _LONGEST else ""


def _one(written: Card, key: str) -> str | None:
    value = written.get(key)
    return value if isinstance(value, str) else None


def _many(written: Card, *keys: str) -> list[str]:
    values = [written.get(key) or [] for key in keys]
    return [item for value in values for item in ([value] if isinstance(value, str) else value)]
