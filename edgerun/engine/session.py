"""One sequence on one executor: prompt ids in, generated ids out. Knows token ids only.

What is in memory stays there: the next prompt is evaluated from where it differs, or, where the model has forgotten what was
there, from before (`recurrence.py`). An exception at any point, Ctrl-C
included, leaves the session usable: a token counts as in memory only after the step that evaluated it returned.
A session serves one thread and one answer at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from collections.abc import Sequence as Ids
from time import perf_counter

import numpy as np

from edgerun.backends.executor import Executor, most_outputs
from edgerun.engine.kvcache import PagePool
from edgerun.engine.recurrence import BEFORE_END, Recurrence
from edgerun.engine.scheduler import Scheduler, batch_of
from edgerun.engine.sequence import Sequence
from edgerun.engine.stats import Stats
from edgerun.errors import UsageError
from edgerun.machine import peak_memory

Sample = Callable[[np.ndarray, int, Ids[int]], int]   # (logits float32 [n_vocab], position, tokens so far) -> token id
Progress = Callable[[int, int], None]                 # (prompt tokens in memory, prompt tokens)



class Session:
    """A sequence of at most `context` positions. `stats` are those of the latest answer.

    chunk: rows of prompt per step; None follows the measured speed. It changes no result. writes: False for an encoder.
    """

    def __init__(self, executor: Executor, context: int, chunk: int | None = None, writes: bool = True) -> None:
        self.executor = executor
        self.writes = writes
        self.context = context
        self.chunk = chunk
        self.pool = PagePool(executor.pages)
        self.scheduler = Scheduler(executor.max_rows, chunk)
        self.sequence = Sequence()
        self.recurrence = Recurrence(executor)
        self.stats = Stats()

    @property
    def tokens(self) -> list[int]:
        """The token ids in memory."""
        return self.sequence.tokens[: self.sequence.done]

    def generate(
        self,
        prompt: Ids[int],
        sampler: Sample,
        max_tokens: int | None = None,
        eog: Collection[int] = (),
        on_progress: Progress | None = None,
    ) -> Iterator[int]:
        """Continue `prompt`; the ids come as they are made, without the one of `eog` that ends them.

        Ends after max_tokens, or when the context is full, or at a token of eog: `stats.finish_reason` says which. on_progress is
        called before the first and after every step of the prompt. UsageError at once for an empty or too long prompt, or for an
        id that the model does not have.
        """
        self._check(prompt)
        if max_tokens is not None and max_tokens < 0:
            raise UsageError(f"max_tokens must not be negative, got {max_tokens}; leave it out to go on until the end")
        if not len(prompt):
            raise UsageError("the prompt is empty and the model has no token to begin a text with; give at least one token")
        self.stats = Stats(prompt_tokens=len(prompt))
        return self._generate(list(prompt), sampler, max_tokens, frozenset(eog), on_progress or (lambda done, total: None), self.stats, perf_counter())

    def logits(self, ids: Ids[int], start: int = 0) -> Iterator[np.ndarray]:
        """Logits of the positions of `ids` from `start` on: float32 [some rows, n_vocab], each valid until the next."""
        self._check(ids)
        return self._logits(list(ids), start)

    def rewind(self, length: int = 0) -> None:
        """Forget the tokens in memory from position `length` on; more of them where the model cannot go back to there."""
        old = self.sequence
        old.cut(self.pool, self.recurrence.back(min(length, old.done)))
        self.pool.recount([old.pages])
        self.sequence = Sequence(old.tokens, done=old.done, pages=old.pages, era=old.era)   # an answer that still runs notices

    def _generate(
        self, prompt: list[int], sampler: Sample, max_tokens: int | None, eog: frozenset[int], on_progress: Progress, stats: Stats, asked: float
    ) -> Iterator[int]:
        room = self.context - len(prompt) + 1   # the last token needs no place: nothing comes after it
        limit = room if max_tokens is None else min(room, max_tokens)
        try:
            sequence = self._begin(prompt, wanted=len(prompt) - 1)
            stats.cached_tokens = sequence.done
            logits, clock = None, perf_counter()
            while stats.generated_tokens < limit:
                if logits is None:
                    logits = self._prefill(sequence, on_progress)
                    stats.prefill_seconds = perf_counter() - clock
                else:
                    if sequence.enter(self._era(len(sequence.tokens))):
                        self.recurrence.back(0)
                    logits = self._prefill(sequence)
                token = sampler(logits[-1], len(sequence.tokens), sequence.tokens)
                if token in eog:
                    stats.finish_reason = "stop"
                    return
                sequence.tokens.append(token)
                now = perf_counter()
                if stats.generated_tokens:
                    stats.token_seconds.append(now - clock)
                else:
                    stats.ttft_seconds = now - asked
                stats.generated_tokens += 1
                clock = now
                yield token
                if sequence is not self.sequence:
                    raise UsageError("this answer cannot go on: its session has begun another one")
            stats.finish_reason = "length"
            stats.context_full = stats.generated_tokens == room
        finally:
            stats.finish_reason = stats.finish_reason or "cancelled"
            stats.peak_rss = peak_memory()

    def _logits(self, ids: list[int], start: int) -> Iterator[np.ndarray]:
        scheduler = Scheduler(most_outputs(self.executor.n_vocab, self.executor.max_rows), self.chunk)
        sequence = self._begin(ids, wanted=start)
        while sequence.pending:
            logits = self._step(sequence, scheduler)
            if len(logits):
                yield logits
            if sequence is not self.sequence:
                raise UsageError("these logits cannot go on: their session has begun something else")

    def check_writes(self) -> None:
        """UsageError where the model has no logits of the next token."""
        if not self.writes:
            raise UsageError("this model reads texts and writes none: it has no logits of the next token; use edgerun embed or edgerun classify")

    def _check(self, ids: Ids[int]) -> None:
        self.check_writes()
        if len(ids) > self.context:
            raise UsageError(f"the prompt has {len(ids)} tokens, the context {self.context}; use -c {len(ids)} or more, or a shorter prompt")
        bad = next((i for i in ids if not 0 <= i < self.executor.n_vocab), None)
        if bad is not None:
            raise UsageError(f"token id {bad} is not in the vocabulary of {self.executor.n_vocab} tokens")

    def _begin(self, tokens: list[int], wanted: int) -> Sequence:
        """A new sequence of `tokens` that keeps the pages of what it shares with the one in memory."""
        era = self._era(len(tokens))
        same = _common(self.tokens, tokens) if era == self.sequence.era else 0
        self.rewind(min(same, wanted))   # the logits that are wanted have to be computed
        self.recurrence.mark = max(0, wanted + 1 - BEFORE_END)
        self.sequence = Sequence(tokens, wanted, done=self.sequence.done, pages=self.sequence.pages, pause=self.recurrence.pause, era=era)
        return self.sequence

    def _era(self, length: int) -> int:
        """How many of the executor's horizons a sequence of that length is beyond."""
        return sum(length > horizon for horizon in self.executor.horizons)

    def _prefill(self, sequence: Sequence, on_progress: Progress = lambda done, total: None) -> np.ndarray:
        total = len(sequence.tokens)
        on_progress(sequence.done, total)
        while sequence.pending:
            logits = self._step(sequence, self.scheduler)
            on_progress(sequence.done, total)
        return logits

    def _step(self, sequence: Sequence, scheduler: Scheduler) -> np.ndarray:
        """Evaluate the rows the scheduler chooses; logits of those of them that are wanted, float32 [m, n_vocab]."""
        turns = scheduler.next([sequence])
        for turn in turns:
            turn.sequence.grow(self.pool, turn.stop)
        batch = batch_of(turns)
        begun = perf_counter()
        with self.recurrence.moving(turns[0].stop):
            logits = self.executor.step(batch)
        scheduler.took(len(batch.tokens), perf_counter() - begun)
        for turn in turns:
            turn.sequence.done = turn.stop
        return logits


def _common(a: list[int], b: list[int]) -> int:
    """Length of the longest common prefix."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
