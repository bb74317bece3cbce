"""What a loaded model says of whole texts: vectors, and how well labels fit. Knows token ids, text and the model's spec; no file, no terminal.

An encoder with a classifier scores its own labels (a reranker has one: how well a text answers a query); a model that
writes is asked how likely each label is behind the text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgerun.dataclass import dataclass
from edgerun.engine.embedder import Embedder, normalised
from edgerun.errors import UsageError
from edgerun.models.components import Classifier

if TYPE_CHECKING:
    from edgerun.engine.session import Session
    from edgerun.graph.program import Program
    from edgerun.models.spec import Spec
    from edgerun.text.tokenizer import Tokenizer

Text = str | Sequence[int]
Progress = Callable[[int, int], None]   # (texts done, texts)


@dataclass(frozen=True)
class Label:
    """How well a label fits a text.

    score: the classifier's, or the mean log-likelihood of the label's tokens in nats; probability: softmax of the scores,
    or the logistic function of it where there is but one.
    """

    name: str
    score: float
    probability: float


class Reader:
    """Reads texts with the model of a session, whose memory it empties.

    tokenizer: fetched when there is text. rerank: the file's template for a query and a document. separator: a token between
    them besides the end of the first, where there is no template.
    """

    def __init__(
        self, session: Session, spec: Spec, program: Program, tokenizer: Callable[[], Tokenizer], rerank: str | None, separator: int | None
    ) -> None:
        self._session, self._spec, self._causal, self._tokenizer = session, spec, program.causal, tokenizer
        self._rerank, self._between = rerank, [] if separator is None else [separator]
        self._embedder = Embedder(session.executor, session.pool, session.context, spec.n_vocab, program.causal)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that the model itself scores; none for one that writes or only embeds."""
        return self._spec.head.labels if isinstance(self._spec.head, Classifier) else ()

    def pooling(self, asked: str | None) -> str:
        """How rows become one vector: as asked, as the file says, or the usual way of such models."""
        stated = {"none": None, "rank": None}.get(self._spec.pooling, self._spec.pooling)
        return asked or stated or ("last" if self._causal else "mean")

    def embed(self, texts: Sequence[Text], pooling: str | None, normalise: bool, progress: Progress) -> np.ndarray | list[np.ndarray]:
        """float32 [texts, width], or with pooling "none" for each text float32 [tokens, width]."""
        pooling = self.pooling(pooling)
        ids = [self._tokenizer().encode(text) if isinstance(text, str) else text for text in texts]
        self._session.rewind()
        vectors = []
        for vector in self._embedder.vectors(ids, pooling):
            vectors.append(normalised(vector) if normalise else vector)
            progress(len(vectors), len(ids))
        return vectors if pooling == "none" else np.stack(vectors) if vectors else np.zeros((0, self._spec.n_embd), np.float32)

    def classify(self, texts: Sequence[str], labels: Sequence[str] | None, query: str | None, progress: Progress) -> list[list[Label]]:
        """Labels for each text, by the model's classifier or by what it would write. UsageError where it cannot do that."""
        if self.labels:
            if labels is not None:
                raise UsageError(f"this model has labels of its own ({', '.join(self.labels)[:200]}); leave out the labels")
            return self._score(texts, query, progress)
        if not self._spec.writes:
            raise UsageError("this model only embeds: it has neither a classifier nor logits; use edgerun embed")
        if query is not None:
            raise UsageError("a query is for rerankers: this model has no classifier; make it part of the text")
        if not labels or len(set(labels)) < len(labels) or "" in labels:
            raise UsageError("this model has no labels of its own; give some, each once, as in --labels good,bad")
        found = []
        for text in texts:
            found.append(self._choose(text, labels))
            progress(len(found), len(texts))
        return found

    def _score(self, texts: Sequence[str], query: str | None, progress: Progress) -> list[list[Label]]:
        """The model's own labels for each text, or for each pair of the query and a text."""
        ids = [self._tokenizer().encode(text) if query is None else self._pair(query, text) for text in texts]
        self._session.rewind()
        found = []
        for scores in self._embedder.scores(ids, "last" if self._causal else "cls"):
            found.append(_rated(self.labels, scores))
            progress(len(found), len(ids))
        return found

    def _choose(self, text: str, labels: Sequence[str]) -> list[Label]:
        """How likely a model that writes is to go on from `text` with each label."""
        tokenizer, gap = self._tokenizer(), "" if not text or text[-1].isspace() else " "
        whole = [tokenizer.encode_pieces([(text + gap + label, False)]) for label in labels]
        prompt = [tokenizer.encode_pieces([(text, False)]), *whole]
        shared = next((i for i, column in enumerate(zip(*prompt, strict=False)) if len(set(column)) > 1), min(map(len, prompt)))
        if not shared:
            raise UsageError("the text is empty and the model has no token to begin one with; give the text that the labels belong to")
        if same := next((label for label, ids in zip(labels, whole, strict=True) if len(ids) == shared), None):
            raise UsageError(f"label {same[:40]!a} is how another one begins, or nothing; use labels that differ from their beginning on")
        return _rated(labels, np.array([self._likelihood(ids, shared) for ids in whole]))

    def _likelihood(self, ids: Sequence[int], start: int) -> float:
        """Mean log-likelihood in nats of ids[start:]; what is in memory already is not evaluated again."""
        found = list[float]()
        for logits in self._session.logits(ids[:-1], start - 1):
            x = (logits - logits.max(axis=1, keepdims=True)).astype(np.float64)
            targets = ids[start + len(found) : start + len(found) + len(x)]
            found += (x[np.arange(len(x)), targets] - np.log(np.exp(x).sum(axis=1))).tolist()
        return sum(found) / len(found)

    def _pair(self, query: str, text: str) -> list[int]:
        """A query and a document as the model was trained on them; neither can bring a special token."""
        tokenizer = self._tokenizer()
        if self._rerank is None:
            first, second = tokenizer.encode(query), tokenizer.encode(text)
            return first + self._between + second[tokenizer.add_bos and tokenizer.bos is not None :]
        before, _, rest = self._rerank.partition("{query}")
        between, _, after = rest.partition("{document}")
        return tokenizer.encode_pieces([(before, True), (query, False), (between, True), (text, False), (after, True)])


def _rated(names: Sequence[str], scores: np.ndarray) -> list[Label]:
    """Labels with their scores and what share of the probability each has."""
    x = scores.astype(np.float64)
    shares = np.exp(x - x.max())
    shares = shares / shares.sum() if len(x) > 1 else 1 / (1 + np.exp(-x))
    return [Label(name, float(score), float(share)) for name, score, share in zip(names, x, shares, strict=True)]
