"""What a model lost against the one it was made of, measured and in words, for the commands that tell it. Knows no command."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgerun.cli.loading import Warnings, loaded
from edgerun.cli.windows import last
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from edgerun.llm import LLM
    from edgerun.text.tokenizer import Tokenizer
    from quant.divergence import Divergence, Positions
    from quant.windows import Window

TOKENS = "tokenizer.ggml.tokens"


def side_by_side(
    model: str, base: str, context: int, cut: Callable[[Tokenizer], list[Window]], threads: int | None, quiet: bool, label: str = "windows:",
    lora: Sequence[tuple[Path, float]] = (),
) -> tuple[Positions, int]:  # fmt: skip
    """Both read the windows that `cut` makes of a text, of at most `context` tokens; what was found, and over how many windows.

    lora: adapters of the model, as for `load`.
    """
    with loaded(base, context, threads, quiet) as reference, loaded(model, context, threads, quiet, lora=lora) as llm:
        from quant.divergence import compare

        _check_vocabularies(reference, llm)
        found = cut(reference.tokenizer)
        Warnings(reference, quiet).show()
        Warnings(llm, quiet).show()
        return last(label, compare(reference.session, llm.session, found), len(found), quiet), len(found)


def lines(d: Divergence, windows: str) -> str:
    """The figures; windows: which, and how many, as `16 windows`."""
    facts = {
        "positions": f"{d.rows} in {windows}",
        "KL divergence": f"{d.mean:.5f} ± {d.mean_error:.5f} nats; median {d.median:.5f}, 99 % below {d.p99:.4f}, most {d.max:.3f}",
        "same top token": f"{100 * d.same_top:.2f} ± {100 * d.same_top_error:.2f} %",
        "perplexity": f"{d.perplexity.value:.4f} ± {d.perplexity.error:.4f}; base {d.reference_perplexity.value:.4f} ± {d.reference_perplexity.error:.4f}",
        "ratio": f"{d.perplexity_ratio:.5f} ± {d.perplexity_ratio_error:.5f}",
    }
    return "".join(f"{name + ':':<16}{value}\n" for name, value in facts.items())


def _check_vocabularies(base: LLM, llm: LLM) -> None:
    """UsageError for models whose predictions are of different tokens."""
    if base.spec.n_vocab != llm.spec.n_vocab or list(base.metadata.strings(TOKENS)) != list(llm.metadata.strings(TOKENS)):
        raise UsageError("the two models have different vocabularies, so their predictions cannot be compared; give a model and what it was made of")
