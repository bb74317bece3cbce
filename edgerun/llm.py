"""A loaded model and what it can do: answer, embed, classify, give logits. Knows the session and the text on both of its ends.

Does not know how a model is found, read or compiled (`api.py`), and not how anything is shown.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, overload

from edgerun import machine
from edgerun.errors import ResourceError, TokenizerError, UsageError
from edgerun.stream import Reply, Stream

if TYPE_CHECKING:
    import numpy as np

    from edgerun.adapter import Adapter
    from edgerun.engine.sampling import Sampling
    from edgerun.engine.stats import Stats
    from edgerun.gguf import Metadata
    from edgerun.models.spec import Spec
    from edgerun.placement import Place
    from edgerun.reading import Label, Reader
    from edgerun.text.template import ChatTemplate, Rendered
    from edgerun.text.tokenizer import Tokenizer

Message = Mapping[str, Any]


class LLM:
    """A loaded model with one text in its memory. Made by `load`; a context manager. One thread at a time.

    spec: the architecture; metadata: of the file; context: positions of text; plan: the memory it takes; threads: how many
    and why; sampling: the defaults of this model; stats: of the latest answer; warnings: lines the user should see.
    """

    def __init__(
        self, place: Place, threads: machine.Threads, sampling: Sampling, chunk: int | None, chat_template: str | None, adapters: Sequence[Adapter] = ()
    ) -> None:
        from edgerun.engine.session import Session

        blueprint, found = place.blueprint, place.fit
        self.path: Path = blueprint.file.path
        self.spec: Spec = blueprint.spec
        self.program = blueprint.program
        self.metadata: Metadata = blueprint.file.metadata
        self.context = found.context
        self.plan = found.plan
        self.threads = threads
        self.sampling = sampling
        self.session = Session(place.executor, found.context, chunk, blueprint.spec.writes)
        self.warnings = [line for line in (place.note, found.warning, threads.warning) if line]
        self._place = place
        self._file, self._adapters = blueprint.file, tuple(adapters)
        self._strict = blueprint.options.tokenizer == "strict"
        self._chat_template = chat_template
        self.load_seconds = self.compile_seconds = 0.0
        self._read_bandwidth: float | None = None
        self._closed = False

    # ---- text --------------------------------------------------------------------------------------------------------

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """Text to ids and back. TokenizerError when the vocabulary makes no sense, or is not that of the weights."""
        from edgerun.text.tokenizer import tokenizer_from

        tokenizer = tokenizer_from(self.metadata, self._strict)
        if tokenizer.n_vocab != self.spec.n_vocab:
            raise TokenizerError(f"{str(self.path)!a}: the vocabulary has {tokenizer.n_vocab} tokens, the weights are for {self.spec.n_vocab}")
        if tokenizer.warning:
            self.warnings.append(tokenizer.warning)
        return tokenizer

    @functools.cached_property
    def template(self) -> ChatTemplate:
        """The chat template that was asked for, that of the file, or one that fits the vocabulary, with a warning."""
        from edgerun.text.template import template_for

        template, warning = template_for(self.metadata, self.tokenizer, self._chat_template)
        if warning:
            self.warnings.append(warning)
        return template

    def render_chat(
        self, messages: Sequence[Message], tools: Sequence[Any] | None = None, add_generation_prompt: bool = True, **template_kwargs: Any
    ) -> str:
        """The prompt that `chat` makes of messages, as text.

        >>> from edgerun import load
        >>> with load("smollm2:135m") as llm:
        ...     print(llm.render_chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]))
        <|im_start|>system
        Be brief.<|im_end|>
        <|im_start|>user
        Hi<|im_end|>
        <|im_start|>assistant
        <BLANKLINE>
        """
        return self._render(messages, tools, add_generation_prompt, template_kwargs).text

    def _render(self, messages: Sequence[Message], tools: Sequence[Any] | None, add_generation_prompt: bool, template_kwargs: Mapping[str, Any]) -> Rendered:
        return self.template.render(list(messages), tools=tools, add_generation_prompt=add_generation_prompt, **template_kwargs)

    # ---- answers -----------------------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: str | Sequence[int],
        *,
        max_tokens: int | None = None,
        stop: str | Iterable[str] = (),
        echo: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
        **sampling: Any,
    ) -> Stream:
        """Continue a text, without a chat template. The pieces of text come as they are made.

        prompt: text, in which special tokens are plain text, or token ids. max_tokens: default until the model ends or the
        context is full. stop: strings that end the answer and are not part of it. echo: give the prompt first.
        on_progress(done, total): called while the prompt is evaluated. sampling: fields of `Sampling`, as temperature=0.0;
        the rest is as in `self.sampling`. UsageError at once for a prompt longer than the context.

        >>> from edgerun import load
        >>> with load("smollm2:135m") as llm:
        ...     for piece in llm.generate("The capital of France is", max_tokens=2, temperature=0.0):
        ...         print(piece, end="")
         Paris.
        """
        self._check_writes()
        ids = self.tokenizer.encode_pieces([(prompt, False)]) if isinstance(prompt, str) else list(prompt)
        text = (prompt if isinstance(prompt, str) else self.tokenizer.decode(ids)) if echo else ""
        return self._answer(ids, max_tokens, stop, on_progress, sampling, echo=text)

    @overload
    def chat(self, messages: Sequence[Message], *, stream: Literal[False] = False, tools: Sequence[Any] | None = None, max_tokens: int | None = None,
             stop: str | Iterable[str] = (), think: bool | None = None, template_kwargs: Mapping[str, Any] | None = None,
             on_progress: Callable[[int, int], None] | None = None, **sampling: Any) -> Reply: ...  # fmt: skip

    @overload
    def chat(self, messages: Sequence[Message], *, stream: Literal[True], tools: Sequence[Any] | None = None, max_tokens: int | None = None,
             stop: str | Iterable[str] = (), think: bool | None = None, template_kwargs: Mapping[str, Any] | None = None,
             on_progress: Callable[[int, int], None] | None = None, **sampling: Any) -> Stream: ...  # fmt: skip

    def chat(
        self,
        messages: Sequence[Message],
        *,
        stream: bool = False,
        tools: Sequence[Any] | None = None,
        max_tokens: int | None = None,
        stop: str | Iterable[str] = (),
        think: bool | None = None,
        template_kwargs: Mapping[str, Any] | None = None,
        on_progress: Callable[[int, int], None] | None = None,
        **sampling: Any,
    ) -> Reply | Stream:
        """Answer the last of `messages` ({"role": ..., "content": ...}); what the memory holds already is not evaluated again.

        stream: give the pieces as they are made (each knows its kind, text or reasoning; `.reply` holds all of it) instead
        of the whole Reply. tools: JSON schemas for the template; calls come in `reply.tool_calls`, nothing is run.
        think: ask the template for an answer with or without reasoning before it; default as the template does it. template_kwargs: further variables of the template. The rest is as in `generate`.

        >>> from edgerun import load
        >>> with load("smollm2:135m") as llm:
        ...     reply = llm.chat([{"role": "user", "content": "Say hello."}], max_tokens=64, temperature=0.0)
        >>> reply.text[:5], reply.finish_reason
        ('Hello', 'stop')
        """
        from edgerun.text.reasoning import ReasoningSplitter
        from edgerun.text.toolcalls import MARKS

        self._check_writes()
        rendered = self._render(messages, tools, True, {"think": think} | dict(template_kwargs or {}))
        ids = self.tokenizer.encode_pieces(rendered.pieces)
        splitter = ReasoningSplitter.of(self.template.source, rendered.text)
        marks = [*splitter.marks, *(MARKS if tools else ())]
        answer = self._answer(ids, max_tokens, stop, on_progress, sampling, marks, splitter=splitter, tools=bool(tools))
        if stream:
            return answer
        for _ in answer:
            pass
        return answer.reply

    def _answer(
        self,
        ids: list[int],
        max_tokens: int | None,
        stop: str | Iterable[str],
        on_progress: Callable[[int, int], None] | None,
        sampling: Mapping[str, Any],
        marks: Collection[str] = (),
        **stream: Any,
    ) -> Stream:
        from edgerun.engine.sampling import Sampler
        from edgerun.engine.stopping import StopStrings

        self._check_open()
        stops = StopStrings([stop] if isinstance(stop, str) else list(stop))
        sampler = Sampler(self.sampling.overridden(sampling))
        tokens = self.session.generate(ids, sampler, max_tokens, self.tokenizer.eog, on_progress)
        stats = self.session.stats
        stats.load_seconds, stats.compile_seconds = self.load_seconds, self.compile_seconds
        stats.bytes_per_token, stats.read_bandwidth = self.plan.weights + self._place.blueprint.mapped[0], self._read_bandwidth
        return Stream(tokens, stats, self.tokenizer.detokenizer(keep=marks), stops, **stream)

    # ---- numbers -----------------------------------------------------------------------------------------------------

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """Logits of every position of `ids`, which are taken as they are: float32 [len(ids), n_vocab], from an empty memory.

        UsageError for more ids than the context holds, ResourceError when the result would not fit in memory.

        >>> from edgerun import load
        >>> with load("smollm2:135m") as llm:
        ...     llm.logits(llm.tokenizer.encode("Hello world")).shape
        (2, 49152)
        """
        import numpy as np

        self._check_writes()
        need, free = 4 * len(ids) * self.spec.n_vocab, machine.memory().available
        rows = self.session.logits(ids)
        if need > free:
            raise ResourceError(f"not enough memory: logits of {len(ids)} tokens take {need / 1e9:.2f} GB, {free / 1e9:.2f} GB are free; ask for fewer at a time")
        result, done = np.empty((len(ids), self.spec.n_vocab), np.float32), 0
        for part in rows:
            result[done : done + len(part)] = part
            done += len(part)
        return result

    @overload
    def embed(self, texts: str | Sequence[str | Sequence[int]], *, pooling: Literal["none"], normalise: bool = True,   # type: ignore[overload-overlap]
              on_progress: Callable[[int, int], None] | None = None) -> list[np.ndarray]: ...  # fmt: skip

    @overload
    def embed(self, texts: str | Sequence[str | Sequence[int]], *, pooling: str | None = None, normalise: bool = True,
              on_progress: Callable[[int, int], None] | None = None) -> np.ndarray: ...  # fmt: skip

    def embed(
        self,
        texts: str | Sequence[str | Sequence[int]],
        *,
        pooling: str | None = None,
        normalise: bool = True,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> np.ndarray | list[np.ndarray]:
        """A vector for each text (one text alone is a list of one): float32 [texts, n_embd], of unit length if normalise.

        A text may be token ids, taken as they are. pooling: mean of the last hidden rows, cls (the first one), last, or none:
        then a list of float32 [tokens, n_embd]. Default is what the file says, else mean for an encoder and last for others.
        on_progress(done, total): called after each text. What is in memory is forgotten. UsageError for a text that is empty
        or longer than the context.

        >>> from edgerun import load
        >>> with load("smollm2:135m") as llm:
        ...     llm.embed(["a cat", "a dog"]).shape
        (2, 576)
        """
        self._check_open()
        return self._reader.embed([texts] if isinstance(texts, str) else texts, pooling, normalise, on_progress or _unseen)

    @overload
    def classify(self, text: str, labels: Sequence[str] | None = None, *, query: str | None = None,   # type: ignore[overload-overlap]
                 on_progress: Callable[[int, int], None] | None = None) -> list[Label]: ...  # fmt: skip

    @overload
    def classify(self, text: Sequence[str], labels: Sequence[str] | None = None, *, query: str | None = None,
                 on_progress: Callable[[int, int], None] | None = None) -> list[list[Label]]: ...  # fmt: skip

    def classify(
        self,
        text: str | Sequence[str],
        labels: Sequence[str] | None = None,
        *,
        query: str | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[Label] | list[list[Label]]:
        """How well labels fit a text, in the order of the labels; for several texts a list for each.

        labels: for a model that writes: how likely it goes on with each of them, by the mean over the label's tokens, behind
        a text such as "Review: ...\nSentiment:". A model with a classifier scores its own labels and takes none; query: the
        text that its texts answer or follow, for rerankers. UsageError where the model can do neither.

        >>> from edgerun import load
        >>> with load("smollm2:135m") as llm:
        ...     [label.name for label in llm.classify("The opposite of hot is", ["cold", "green"]) if label.probability > 0.5]
        ['cold']
        """
        self._check_open()
        texts, progress = [text] if isinstance(text, str) else text, on_progress or _unseen
        found = self._reader.classify(texts, labels, query, progress)
        return found[0] if isinstance(text, str) else found

    @functools.cached_property
    def _reader(self) -> Reader:
        from edgerun.reading import Reader

        said = self.metadata
        doubled = said.bool("tokenizer.ggml.add_sep_token", False) and said.bool("tokenizer.ggml.add_eos_token", False)   # <s> a </s></s> b </s>
        separator = said.int("tokenizer.ggml.seperator_token_id", None) if doubled else None
        return Reader(self.session, self.spec, self.program, lambda: self.tokenizer, said.str("tokenizer.chat_template.rerank", None), separator)

    @property
    def device(self) -> str:
        """What computes: "CPU", or a GPU by its name."""
        return self._place.device.facts.summary if self._place.device else "CPU"

    @property
    def stats(self) -> Stats:
        """Counts and times of the latest answer."""
        return self.session.stats

    def measure_bandwidth(self) -> float:
        """Measure what this machine reads from memory, in bytes per second, for `stats` of the latest and of later answers.

        What was measured within a day is taken as it is; else it takes about a second, and a gibibyte for that time. On a GPU it is
        what this one copies, as its self-test found.
        """
        from edgerun.backends.cpu.ceilings import ceilings

        if self._read_bandwidth is None and self._place.device:
            self._read_bandwidth = self._place.copies
        elif self._read_bandwidth is None:
            self._read_bandwidth = ceilings(max(self.threads.count, machine.threads().count)).read
        self.stats.read_bandwidth = self._read_bandwidth
        return self._read_bandwidth

    def describe(self) -> dict[str, Any]:
        """What is loaded and how it runs, by name, ready for JSON."""
        return {
            "file": str(self.path),
            "lora": [{"file": str(adapter.file.path), "scale": adapter.scale} for adapter in self._adapters],
            "architecture": self.spec.architecture,
            "context": self.context,
            "trained_context": self.spec.context,
            "device": self.device,
            "threads": self.threads.count,
            "threads_reason": self.threads.reason,
            "memory": dataclasses.asdict(self.plan) | {"total": self.plan.total},
            "sampling": dataclasses.asdict(self.sampling),
            "load_seconds": self.load_seconds,
            "compile_seconds": self.compile_seconds,
        }

    # ---- life --------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give back memory and threads. Calling it twice is harmless."""
        if not self._closed:
            self._closed = True
            self._place.close()
            for file in (self._file, *(adapter.file for adapter in self._adapters)):
                file.close()

    def _check_open(self) -> None:
        if self._closed:
            raise UsageError("this model is closed; load it again")

    def _check_writes(self) -> None:
        self._check_open()
        self.session.check_writes()

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _unseen(done: int, total: int) -> None:
    """Progress that nobody watches."""
