"""`edgerun show`: what is in a model file and what it needs to run. Knows how the command is typed and how to print it."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgerun.cli.clean import clean
from edgerun.cli.pull import Ref
from edgerun.cli.table import size, table
from edgerun.cli.terminal import stdout
from edgerun.errors import ModelError

if TYPE_CHECKING:
    from edgerun.gguf import GGUF, Metadata

TEMPLATE = "tokenizer.chat_template"
_SHORT = 16          # items of an array that are shown
_WIDE = 100          # characters of a string that are shown
_LARGEST_CONTEXT = 1 << 26

Output = Annotated[Literal["text", "json"], typer.Option("-o", "--output", show_default=False, help="text, or json: one object.")]
Context = Annotated[int | None, typer.Option("-c", "--ctx-size", metavar="N", min=1, max=_LARGEST_CONTEXT, help="Plan the memory for N tokens; default: as `run` would.")]


def command(ref: Ref, ctx_size: Context = None, output: Output = "text") -> None:
    """Show what is in a model file.

    Its metadata, the types of its tensors, its chat template, and the memory it needs at a context size; or what an adapter adapts.
    Nothing is fetched.
    """
    from edgerun.gguf import open_gguf
    from edgerun.hub import resolve

    path = resolve(ref, download=False)
    with open_gguf(path) as file:
        adapter = _adapter(file)
        facts = _facts(ref, file) | ({"adapter": adapter} if adapter else {"memory": _memory(path, file.metadata, ctx_size)})
    text = json.dumps(facts, indent=2) + "\n" if output == "json" else _text(facts)
    stdout().write(text)


def _facts(ref: str, file: GGUF) -> dict[str, Any]:
    """Everything about the file itself, ready for JSON."""
    from edgerun.hub import entry_of

    entry = entry_of(ref)
    metadata = file.metadata
    return {
        "name": entry.name if entry else ref,
        "path": str(file.path),
        "size": file.size,
        "version": file.version,
        "architecture": metadata.str("general.architecture", None),
        "parameters": sum(math.prod(t.shape) for t in file.tensors.values()),
        "context": _trained(metadata),
        "license": metadata.str("general.license", None) or (entry.license if entry else None),
        "metadata": {key: _value(metadata, key) for key in metadata if key != TEMPLATE},
        "tensors": _types(file),
        "template": metadata.str(TEMPLATE, None),
    }


def _adapter(file: GGUF) -> dict[str, Any] | None:
    """What an adapter is; None for a model."""
    from edgerun.adapter import Adapter, is_adapter

    if not is_adapter(file):
        return None
    try:
        found = Adapter.of(file)
    except ModelError as error:
        return {"error": str(error)}
    return {"type": "lora", "alpha": found.alpha, "ranks": found.ranks, "tensors": len(found.pairs)}


def _types(file: GGUF) -> list[dict[str, Any]]:
    """For each type of tensors how many there are and how large they are together, the largest first."""
    count: Counter[str] = Counter()
    nbytes: Counter[str] = Counter()
    for tensor in file.tensors.values():
        count[tensor.type_name] += 1
        nbytes[tensor.type_name] += tensor.nbytes
    return [{"type": name, "tensors": count[name], "bytes": total} for name, total in nbytes.most_common()]


def _value(metadata: Metadata, key: str) -> Any:
    """A value for JSON; of a long array only what kind it is, which spares decoding a vocabulary."""
    count = metadata.count(key)
    if count is not None and count > _SHORT:
        return metadata.kind(key)
    return _plain(metadata[key])


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _trained(metadata: Metadata) -> int | None:
    architecture = metadata.str("general.architecture", None)
    return metadata.int(f"{architecture}.context_length", None)


def _memory(path: Path, metadata: Metadata, asked: int | None) -> dict[str, Any]:
    """The bytes it needs at the context asked for, or why that cannot be said."""
    from edgerun.api import memory_plan
    from edgerun.engine.fit import default_context

    try:
        trained = _trained(metadata)
        if asked is None and trained is None:
            raise ModelError("the file does not say for which context it was trained; give one with -c")
        context = asked or default_context(trained or 0)
        plan = memory_plan(path, context)
    except ModelError as error:
        return {"error": str(error)}
    return {"context": context, "weights": plan.weights, "kv": plan.kv, "scratch": plan.scratch, "total": plan.total}


# ---- for a person ------------------------------------------------------------------------------------------------------


def _text(facts: dict[str, Any]) -> str:
    parts = [
        table(_head(facts)),
        "\nMetadata\n" + _indented(table([(key, _shown(value)) for key, value in facts["metadata"].items()])),
        "\nTensors\n" + _indented(table([(t["type"], str(t["tensors"]), size(t["bytes"])) for t in facts["tensors"]], right=(1, 2))),
    ]
    if facts["template"]:
        parts.append("\nTemplate\n" + _indented(clean(facts["template"]).rstrip("\n") + "\n"))
    if "adapter" in facts:
        return "".join(parts)
    memory = facts["memory"]
    if "error" in memory:
        parts.append(f"\nMemory\n  not known: {clean(memory['error'], keep_newlines=False)}\n")
    else:
        rows = [(name, size(memory[key])) for name, key in (("weights", "weights"), ("key/value", "kv"), ("scratch", "scratch"), ("total", "total"))]
        parts.append(f"\nMemory at a context of {memory['context']}\n" + _indented(table(rows, right=(1,))))
    return "".join(parts)


def _head(facts: dict[str, Any]) -> list[tuple[str, str]]:
    rows = {
        "adapter" if "adapter" in facts else "model": facts["name"],
        "file": facts["path"],
        "size": size(facts["size"]),
        "architecture": facts["architecture"],
        "adapts": _adapts(facts["adapter"]) if "adapter" in facts else None,
        "parameters": f"{facts['parameters'] / 1e6:.1f} M" if facts["parameters"] < 1e9 else f"{facts['parameters'] / 1e9:.2f} B",
        "context": facts["context"],
        "license": facts["license"],
    }
    return [(name, str(value)) for name, value in rows.items() if value is not None]


def _adapts(adapter: dict[str, Any]) -> str:
    if "error" in adapter:
        return f"not known: {clean(adapter['error'], keep_newlines=False)}"
    ranks = ", ".join(map(str, adapter["ranks"][:4])) + (", ..." if len(adapter["ranks"]) > 4 else "")
    return f"{adapter['tensors']} tensors of a model (LoRA of rank {ranks}, alpha {adapter['alpha']:g}); use it with --lora"


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list) else str(value)
    return text if len(text) <= _WIDE else text[: _WIDE - 3] + "..."


def _indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.split("\n")[:-1])
