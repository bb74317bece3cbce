"""What a program imports: load() -> LLM, and what works without a loaded model. Re-exported by `edgerun`, fetched on first use.

Knows the way of a model through the house: hub -> gguf -> models -> graph -> backend; what a loaded model can do is in `llm.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from os import PathLike
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from edgerun import machine
from edgerun.backends.executor import MemoryPlan
from edgerun.blueprint import Blueprint, Options
from edgerun.engine.fit import check_context, default_context
from edgerun.engine.kvcache import pages_for
from edgerun.errors import UsageError
from edgerun.gguf import Metadata, open_gguf
from edgerun.llm import LLM, Message
from edgerun.placement import Place

if TYPE_CHECKING:
    from edgerun.adapter import Adapter
    from edgerun.engine.sampling import Sampling
    from edgerun.text.template import ChatTemplate
    from edgerun.text.tokenizer import Tokenizer

Ref = str | PathLike[str]
Progress = Callable[[str, int, int | None], None]   # (download, weights or kernels; done; of how many, None when not known)

# Where a model file says how it wants to be sampled (llama.cpp's names).
_SAMPLING_KEYS = {
    "temperature": "temp", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p", "repeat_penalty": "penalty_repeat", "repeat_last_n": "penalty_last_n",
}  # fmt: skip


def load(
    ref: Ref,
    *,
    context: int | None = None,
    threads: int | None = None,
    backend: str = "auto",
    device: str = "auto",
    numerics: str = "fast",
    kv: str = "f16",
    tokenizer: str = "default",
    chat_template: str | None = None,
    chunk: int | None = None,
    lora: Sequence[Ref | tuple[Ref, float]] | Ref = (),
    repack: str = "now",
    progress: Progress | None = None,
) -> LLM:
    """Load a model: a path, a catalogue name, `hf:user/repo[:quant]` or a URL, which is downloaded once.

    context: positions of text it can hold; default the trained context, at most 8192, or what fits in memory.
    threads: default one per fast core this process may use; more than can run at once are not started.
    backend: auto, cpu, or reference (NumPy in float64: slow and true). device: cpu, gpu, a part of the name of one (`edgerun doctor
    --gpu` lists them), or auto: a GPU that passed its self-test and is faster than the CPU, where the extra `gpu` is installed and the
    whole model fits there, else the CPU, with a line in `warnings` where there is a GPU. numerics: fast, or exact (float32 from
    dequantized weights). kv: what keys and values are kept as: f16, f32, bf16, q8_0 (half of f16) or q4_0 (a quarter), or two as
    keys:values. tokenizer: default, which gives llama.cpp's ids, or strict: those the model was trained with, where they are known
    to differ. chat_template: another than the file's own: a file with its Jinja source, the name of a further one in the model
    file, or of a built-in one. chunk: prompt rows per step, for measurements; changes no result.
    lora: adapters that change the model: GGUF files, or (file, scale) where B A is to count more or less than it was trained to.
    repack: when weights are laid out for the CPU's kernels: now; later, in the first two steps, for an early first token, for which the file
    must stay as it is that long; or never: computing from the mapped file, without a copy of it in memory, at fewer tokens per second; a
    file that is cut short meanwhile ends the process, and a line in `warnings` says which weights were repacked all the same.
    progress(what, done, of): called meanwhile, with what = download (in bytes), weights or kernels (in pieces), device (a GPU is tested).

    UsageError for options that make no sense, SourceError when a download fails, ModelError when the file cannot be
    used, ResourceError when it does not fit in memory, DeviceError when the GPU that was asked for cannot be used; all before any
    weight is read.

    >>> with load("smollm2:135m", context=512) as llm:
    ...     llm.spec.architecture, llm.context
    ('llama', 512)
    """
    begun = perf_counter()
    options = Options(backend, numerics, kv, tokenizer, device, repack)
    use = machine.threads(threads)
    if chunk is not None and chunk < 1:
        raise UsageError(f"chunk must be at least 1, not {chunk}")
    if context is not None:
        check_context(context)
    phases = _Phases(progress)
    path = _resolve(ref, phases)
    with ExitStack() as opened:
        file = opened.enter_context(open_gguf(path))
        adapters = _adapters(lora, opened) if lora else []
        blueprint = Blueprint.of(file, options, adapters)
        sampling = _sampling(ref, blueprint.file.metadata, phases.notes)
        place = Place.of(blueprint, context, use.count, phases)
        opened.callback(place.close)
        llm = LLM(place, use, sampling, chunk, chat_template, adapters)
        opened.pop_all()
    llm.warnings[:0] = phases.notes
    llm.compile_seconds = phases.compile_seconds
    llm.load_seconds = perf_counter() - begun - phases.compile_seconds
    return llm


def load_tokenizer(ref: Ref, tokenizer: str = "default") -> Tokenizer:
    """The tokenizer of a model, also from a file that holds nothing but a vocabulary. tokenizer: as for `load`.

    >>> load_tokenizer("smollm2:135m").encode("Hello world")
    [19556, 905]
    """
    from edgerun.text.tokenizer import tokenizer_from

    strict = Options(tokenizer=tokenizer).tokenizer == "strict"
    with open_gguf(_resolve(ref)) as file:
        return tokenizer_from(file.metadata, strict)


def load_template(ref: Ref, chat_template: str | None = None) -> tuple[ChatTemplate, str | None]:
    """The chat template of a model, chosen as by `load`, without loading the model; and a warning where the file has none.

    >>> template, warning = load_template("smollm2:135m", "chatml")
    >>> template.render([{"role": "user", "content": "Hi"}], add_generation_prompt=False).text.splitlines()
    ['<|im_start|>user', 'Hi<|im_end|>']
    """
    from edgerun.text.template import template_for
    from edgerun.text.tokenizer import tokenizer_from

    with open_gguf(_resolve(ref)) as file:
        return template_for(file.metadata, tokenizer_from(file.metadata), chat_template)


def render_template(
    source: str, messages: Sequence[Message], tools: Sequence[Any] | None = None, bos_token: str = "", eos_token: str = "", **template_kwargs: Any
) -> str:
    """A chat template (Jinja, as in a model's tokenizer_config.json) applied to messages, without a model.

    TemplateError when it cannot be parsed, fails, or exceeds its bounds of time, memory or size.

    >>> render_template("{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}\\n{% endfor %}", [{"role": "user", "content": "Hi"}], bos_token="<s>")
    '<s>[user] Hi\\n'
    """
    from edgerun.text import template

    return template.render_template(source, messages, tools, bos_token, eos_token, **template_kwargs)


def memory_plan(
    ref: Ref, context: int | None = None, *, backend: str = "auto", device: str = "cpu", numerics: str = "fast", kv: str = "f16"
) -> MemoryPlan:
    """What loading a model with this context (default: the one of `load`) would need in memory, without loading it.

    device: cpu, or gpu for what it would take of a GPU's memory.

    >>> memory_plan("smollm2:135m", context=2048).kv
    47185920
    """
    if device not in ("cpu", "gpu"):
        raise UsageError(f"device {device[:40]!a} has no memory plan; use cpu or gpu")
    options = Options(backend, numerics, kv, device=device)
    with open_gguf(_resolve(ref)) as file:
        blueprint = Blueprint.of(file, options)
        blueprint = replace(blueprint, backend="gpu") if device == "gpu" else blueprint
        spec = blueprint.spec
        return blueprint.plan(pages_for(default_context(spec.context) if context is None else check_context(context, spec.longest)))


def warmup(ref: Ref, *, backend: str = "auto", numerics: str = "fast", kv: str = "f16", progress: Progress | None = None) -> int:
    """Do ahead what the first `load` of a model on this machine does: fetch it, compile its kernels. How many were compiled.

    OutputError when they cannot be kept; else the errors of `load`.
    """
    options, phases = Options(backend, numerics, kv), _Phases(progress)
    with open_gguf(_resolve(ref, phases)) as file:
        return Blueprint.of(file, options).warm(phases)


class _Phases:
    """Passes on how far loading is, keeps the notes of a download, and measures how long kernels are compiled."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress or (lambda what, done, of: None)
        self._compiling_since: float | None = None
        self.compile_seconds = 0.0
        self.notes: list[str] = []

    def __call__(self, what: str, done: int, of: int | None) -> None:
        if what == "kernels":
            now = perf_counter()
            self._compiling_since = now if self._compiling_since is None else self._compiling_since
            self.compile_seconds = now - self._compiling_since
        self._progress(what, done, of)


def _resolve(ref: Ref, phases: _Phases | None = None) -> Path:
    """The file of a model, downloaded if need be. A PathLike is never taken for a name."""
    from edgerun.hub import resolve

    if isinstance(ref, PathLike):
        return Path(ref)
    phases = phases or _Phases(None)
    return resolve(ref, progress=lambda done, of, name: phases("download", done, of), note=phases.notes.append)


def _adapters(lora: Sequence[Ref | tuple[Ref, float]] | Ref, opened: ExitStack) -> list[Adapter]:
    """The adapters that were asked for, open until `opened` is closed."""
    from edgerun.adapter import Adapter

    wanted = [lora] if isinstance(lora, str | PathLike) else lora
    files = [(Path(one), 1.0) if isinstance(one, str | PathLike) else (Path(one[0]), float(one[1])) for one in wanted]
    if folder := next((path for path, _ in files if path.is_dir()), None):
        raise UsageError(f"lora {str(folder)!a} is a folder; edgerun convert FOLDER --base MODEL makes an adapter file of one that PEFT saved")
    return [Adapter.of(opened.enter_context(open_gguf(path)), scale) for path, scale in files]


def _sampling(ref: Ref, metadata: Metadata, notes: list[str]) -> Sampling:
    """The defaults of a model: the catalogue's, else the file's, else ours. What makes no sense in a file is noted and left out."""
    from edgerun.engine.sampling import Sampling
    from edgerun.hub import entry_of

    sampling = Sampling()
    for ours, theirs in _SAMPLING_KEYS.items():
        key = f"general.sampling.{theirs}"
        if (value := metadata.float(key, None)) is not None:
            try:
                sampling = sampling.overridden({ours: value})
            except UsageError as error:
                notes.append(f"{key} of the model file is left out: {error}")
    entry = entry_of(ref) if isinstance(ref, str) else None
    return sampling.overridden(entry.sampling if entry else {})
