"""A model that says what it is told to, for tests of the command line. `python fake_llm.py ARGUMENTS` is `edgerun` with it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from edgerun.engine.stats import Stats
from edgerun.reading import Label
from edgerun.stream import Piece, Reply

ANSWER = ("The sky ", "is blue", ".")


class FakeStream(Iterator[Piece]):
    """Pieces of an answer; `slow` seconds before each. A piece may be an exception, which is raised."""

    def __init__(self, pieces: list[Any], slow: float, on_progress: Callable[[int, int], None]) -> None:
        self.stats = Stats(prompt_tokens=12, cached_tokens=2, load_seconds=0.25, prefill_seconds=0.5, ttft_seconds=0.6)
        self.stats.peak_rss, self.stats.bytes_per_token = 123_000_000, 100_000_000
        self._slow, self._said = slow, list[Piece]()
        self._pieces = self._run(pieces, on_progress)

    def __next__(self) -> Piece:
        return next(self._pieces)

    def _run(self, pieces: list[Any], on_progress: Callable[[int, int], None]) -> Iterator[Piece]:
        for done in range(2, 13, 5):
            on_progress(done, 12)
            time.sleep(self._slow)
        try:
            for piece in pieces:
                time.sleep(self._slow)
                if isinstance(piece, BaseException):
                    raise piece
                self._said.append(piece)
                self.stats.generated_tokens += 1
                self.stats.token_seconds = [0.0125] * (self.stats.generated_tokens - 1)
                yield piece
            self.stats.finish_reason = "stop"
        finally:
            self.stats.finish_reason = self.stats.finish_reason or "cancelled"

    def close(self) -> None:
        self._pieces.close()   # type: ignore[attr-defined]

    @property
    def reply(self) -> Reply:
        said = {kind: "".join(piece for piece in self._said if piece.kind == kind) for kind in ("text", "reasoning")}
        return Reply(said["text"], said["reasoning"], [], self.stats)


class FakeLLM:
    """Gives `answers` one after the other, the last one again and again; `calls` is what it was asked."""

    context = 2048

    def __init__(self, *answers: Any, slow: float = 0.0) -> None:
        self.answers = [[piece if isinstance(piece, BaseException) else Piece(piece) if type(piece) is str else piece for piece in a] for a in answers or (ANSWER,)]
        self.slow = slow
        self.calls: list[dict[str, Any]] = []
        self.loaded: dict[str, Any] = {}
        self.warnings: list[str] = []
        self.stats = Stats()
        self.closed = False

    def load(self, ref: str, **options: Any) -> FakeLLM:
        options.pop("progress")
        self.loaded = {"ref": ref} | options
        return self

    def generate(self, prompt: str, on_progress: Callable[[int, int], None], **options: Any) -> FakeStream:
        return self._answer({"prompt": prompt} | options, on_progress)

    def chat(self, messages: list[dict[str, str]], on_progress: Callable[[int, int], None], stream: bool, **options: Any) -> FakeStream:
        assert stream
        return self._answer({"messages": [dict(message) for message in messages]} | options, on_progress)

    def embed(self, texts: list[str], on_progress: Callable[[int, int], None], **options: Any) -> Any:
        """[length, 0.1] of each text; of each word with pooling none."""
        import numpy as np

        self.calls.append({"texts": texts} | options)
        on_progress(len(texts), len(texts))
        if options["pooling"] == "none":
            return [np.array([[len(word), 0.1] for word in text.split()], np.float32) for text in texts]
        return np.array([[len(text), 0.1] for text in texts], np.float32)

    def classify(self, texts: list[str], labels: list[str] | None, query: str | None, on_progress: Callable[[int, int], None]) -> list[list[Label]]:
        """The longest label is the best; a query's only one is its share of the text."""
        self.calls.append({"texts": texts, "labels": labels, "query": query})
        on_progress(len(texts), len(texts))
        return [[Label(name, float(len(name)), len(name) / 10) for name in labels or ["fits"]] for _ in texts]

    def measure_bandwidth(self) -> float:
        self.stats.read_bandwidth = 10e9
        return 10e9

    def _answer(self, call: dict[str, Any], on_progress: Callable[[int, int], None]) -> FakeStream:
        self.calls.append(call)
        stream = FakeStream(self.answers[min(len(self.calls), len(self.answers)) - 1], self.slow, on_progress)
        self.stats = stream.stats
        return stream

    def __enter__(self) -> FakeLLM:
        return self

    def __exit__(self, *error: object) -> None:
        self.closed = True


def main() -> None:
    """`edgerun` with a model as $FAKE says: {"answer": [...], "slow": seconds, "log": path of a file for its calls}."""
    import edgerun
    from edgerun.cli.main import main

    settings = json.loads(os.environ.get("FAKE", "{}"))
    llm = FakeLLM(settings.get("answer", ANSWER), slow=settings.get("slow", 0.0))
    edgerun.load = llm.load   # type: ignore[assignment]
    try:
        main()
    finally:
        if log := settings.get("log"):
            Path(log).write_text(json.dumps(llm.calls))


if __name__ == "__main__":
    sys.argv[0] = "edgerun"
    main()
