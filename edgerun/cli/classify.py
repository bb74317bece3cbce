"""`edgerun classify`: how well labels fit texts. Knows how the command is typed and shown; the rest is in `edgerun.api`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgerun.cli import options as o
from edgerun.cli.clean import clean
from edgerun.cli.lines import Texts, texts
from edgerun.cli.loading import Warnings, default_model, loaded
from edgerun.cli.terminal import is_terminal, status, stdout

if TYPE_CHECKING:
    from edgerun.reading import Label

Labels = Annotated[str | None, typer.Option("--labels", metavar="A,B,...", show_default=False, help="The labels, for a model that has none of its own.")]
Query = Annotated[str | None, typer.Option("--query", metavar="TEXT", show_default=False, help="For rerankers: score the texts as answers to this.")]
Form = Annotated[o.Output, typer.Option("-o", "--output", help="text; jsonl: an object for each text; json: one for all.")]


def command(
    text: Texts = None, model: o.Model = None, labels: Labels = None, query: Query = None, output: Form = "text",
    ctx_size: o.CtxSize = None, threads: o.Threads = None, quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Score labels for texts, or texts for a query.

    A model with a classifier scores its own labels; a reranker scores how well each text answers --query. Any other model is asked
    how likely it goes on with each of --labels behind a text, as in "Review: I loved it. Sentiment:": the mean log-likelihood of a label's
    tokens, and what share of the probability that is. Shown are the best label, its probability and the text; for a query the probability
    that the text answers it.
    """
    found = texts(text)
    name = model or default_model()
    with loaded(name, ctx_size, threads, quiet) as llm:
        with status("reading texts:", wanted=not quiet) as advance:
            names = None if labels is None else [label.strip() for label in labels.split(",")]
            results = llm.classify(found, names, query=query, on_progress=advance)
        Warnings(llm, quiet).show()
    stream = stdout()
    if output == "text":
        stream.write("".join(_line(text, result, query is not None and len(result) <= 2, is_terminal(stream)) for text, result in zip(found, results, strict=True)))
    elif output == "json":
        stream.write(json.dumps({"model": name, "results": [_facts(*each) for each in zip(found, results, strict=True)]}) + "\n")
    else:
        stream.write("".join(json.dumps(_facts(*each)) + "\n" for each in zip(found, results, strict=True)))


def _line(text: str, labels: list[Label], answers: bool, terminal: bool) -> str:
    """The best label, its probability, the text; or how probably the text answers, which is the first label of one or two."""
    best = max(labels, key=lambda label: label.score)
    fields = [f"{labels[0].probability:.4f}", text] if answers else [best.name, f"{best.probability:.4f}", text]
    return "\t".join(clean(field, keep_newlines=False) if terminal else field for field in fields) + "\n"


def _facts(text: str, labels: list[Label]) -> dict[str, Any]:
    best = max(labels, key=lambda label: label.score)
    return {"text": text, "label": best.name, "labels": [dataclasses.asdict(label) for label in labels]}
