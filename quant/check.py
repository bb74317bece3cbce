"""Looks a model file through for what would make its answers wrong, and says what to do. Knows what a file promises, runs no model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from edgerun import formats
from edgerun.adapter import Adapter, is_adapter
from edgerun.errors import EdgerunError, ModelError, Unsupported
from edgerun.gguf import GGUF, open_gguf
from edgerun.gguf.file import shown
from edgerun.gguf.tensor import Tensor

Level = Literal["ok", "warning", "damage"]
Progress = Callable[[int, int], None]

_SLICE = 8 << 20     # bytes of a tensor looked at at a time
_MOST = 5            # tensors named one by one; the rest is counted
_BLOB = re.compile(r"[0-9a-f]{64}")   # the hub's cache names a file by its SHA-256
_SAMPLE = "Hello, wörld! 12345 \u4f60\u597d\n\n  \U0001f600 <|im_end|>"


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do."""

    level: Level
    what: str
    text: str


def check(path: Path, sha256: str | None = None, progress: Progress = lambda done, of: None) -> Iterator[Finding]:
    """The findings, in order. sha256: what the file should have, if known. progress(bytes looked at, of)."""
    try:
        file = open_gguf(path)
    except ModelError as error:
        yield Finding("damage", "structure", str(error))
        return
    with file:
        yield Finding("ok", "structure", f"GGUF version {file.version}, {len(file.metadata)} keys, {len(file.tensors)} tensors, {file.size} bytes in {len(file.files)} files")
        yield from _hash(file, sha256)
        if is_adapter(file):
            yield from _weights(file, progress)
            yield _adapter(file)
            return
        if file.tensors:
            yield from _weights(file, progress)
            yield from _program(file)
        else:
            yield Finding("warning", "weights", "there are none: the file holds a vocabulary or metadata only")
        yield from _text(file)


def _hash(file: GGUF, sha256: str | None) -> Iterator[Finding]:
    blob = file.path.resolve().name
    expected = sha256 or (blob if _BLOB.fullmatch(blob) else None)
    if expected is None:
        yield Finding("ok", "hash", "not known: the file is not of the catalogue nor in the hub's cache")
        return
    with open(file.path, "rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()
    if found == expected:
        yield Finding("ok", "hash", f"SHA-256 {found}, as published")
    else:
        yield Finding("damage", "hash", f"SHA-256 {found} instead of {expected}; remove the file and fetch it again")


def _weights(file: GGUF, progress: Progress) -> Iterator[Finding]:
    """What is wrong with numbers: NaN, infinities, rows of zeros."""
    total, done = sum(t.nbytes for t in file.tensors.values()), 0
    bad: list[str] = []
    empty: list[str] = []
    for name, tensor in file.tensors.items():
        progress(done, total)
        done += tensor.nbytes
        if tensor.type not in formats.all_formats():
            continue   # integers of quantized checkpoints and the like: nothing to look for
        broken, zero = _numbers(tensor)
        bad += [f"{name} ({tensor.type_name}) has {broken} values that are not finite"] * bool(broken)
        empty += [f"{name} has {zero} of {tensor.rows} rows of zeros"] * bool(zero and not name.startswith("token_embd"))
    progress(total, total)
    yield from (Finding("damage", "weights", f"{text}; download or convert the file again") for text in _some(bad))
    yield from (Finding("warning", "weights", f"{text}: pruned, or lost in a conversion") for text in _some(empty))
    if not bad:
        yield Finding("ok", "weights", f"all values of {len(file.tensors)} tensors are finite")


def _numbers(tensor: Tensor) -> tuple[int, int]:
    """How many values are not finite, and how many rows hold nothing but zeros."""
    fmt, broken, zero = formats.by_id(tensor.type), 0, 0
    step = max(1, _SLICE // (tensor.nbytes // tensor.rows))
    for start in range(0, tensor.rows, step):
        with np.errstate(all="ignore"):
            values = fmt.dequantize(tensor.read(start, min(start + step, tensor.rows)))
        broken += values.size - int(np.count_nonzero(np.isfinite(values)))
        zero += len(values) - int(np.count_nonzero(values.any(axis=1)))
    return broken, zero if len(tensor.shape) > 1 else 0


def _adapter(file: GGUF) -> Finding:
    """Whether what an adapter adds is pairs that belong together; which model they fit, only that model says."""
    try:
        found = Adapter.of(file)
    except Unsupported as error:
        return Finding("warning", "adapter", str(error))
    except ModelError as error:
        return Finding("damage", "adapter", str(error))
    return Finding("ok", "adapter", f"for models of {shown(found.architecture)}; adapts {len(found.pairs)} tensors")


def _program(file: GGUF) -> Iterator[Finding]:
    """Whether the tensors are those that the architecture calls for, none missing and none left over."""
    from edgerun.blueprint import Blueprint, Options

    try:
        spec = Blueprint.of(file, Options()).spec
    except Unsupported as error:
        yield Finding("warning", "architecture", str(error))
    except ModelError as error:
        yield Finding("damage", "architecture", str(error))
    else:
        yield Finding("ok", "architecture", f"{spec.architecture}, {spec.n_layer} layers; every tensor has its part in it")


def _text(file: GGUF) -> Iterator[Finding]:
    """Whether the vocabulary makes sense and fits the weights, and whether the chat template renders."""
    from edgerun.text.template import template_for
    from edgerun.text.tokenizer import tokenizer_from

    try:
        tokenizer = tokenizer_from(file.metadata)
    except EdgerunError as error:
        yield Finding("damage", "tokenizer", str(error))
        return
    rows = file.tensors["token_embd.weight"].shape[0] if "token_embd.weight" in file.tensors else tokenizer.n_vocab
    back = tokenizer.decode(tokenizer.encode(_SAMPLE, add_special=False))
    if rows != tokenizer.n_vocab:
        yield Finding("damage", "tokenizer", f"the vocabulary has {tokenizer.n_vocab} tokens, the weights are for {rows}; convert the model again")
    elif tokenizer.warning:
        yield Finding("warning", "tokenizer", tokenizer.warning)
    elif not tokenizer.eog:
        yield Finding("warning", "tokenizer", "no token ends an answer: answers go on until -n or the context; set tokenizer.ggml.eos_token_id with edgerun edit")
    else:
        same = "text comes back as it was" if back == _SAMPLE else "some characters do not come back as they were"
        yield Finding("ok", "tokenizer", f"{tokenizer.n_vocab} tokens; {same}")
    try:
        template, warning = template_for(file.metadata, tokenizer)
        template.render([{"role": "user", "content": "Hello"}])
    except EdgerunError as error:
        yield Finding("warning", "template", f"{error}; give another with --chat-template")
    else:
        yield Finding("warning", "template", warning) if warning else Finding("ok", "template", "renders")


def _some(lines: list[str]) -> list[str]:
    """The first few, and how many more there are."""
    rest = len(lines) - _MOST
    return lines[:_MOST] + ([f"so have {rest} more tensors"] if rest > 0 else [])
