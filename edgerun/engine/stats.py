"""What one answer cost: counts, clocks and memory. Knows only numbers; whoever has a figure writes it here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

FinishReason = Literal["stop", "length", "cancelled"]


@dataclass
class Stats:
    """Times in seconds, memory in bytes, bandwidth in bytes per second.

    prompt_tokens counts all tokens of the prompt, cached_tokens those of them that were in memory already.
    finish_reason: stop (the model ended, or a stop string came), length (max_tokens or the context is full: then
    context_full is set), cancelled (Ctrl-C, or the caller stopped reading); None while the answer runs.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    load_seconds: float = 0.0                # from the call of load() to a model that is ready, without compiling
    compile_seconds: float = 0.0             # compiling kernels that were not in the store
    prefill_seconds: float = 0.0             # evaluating the prompt
    ttft_seconds: float = 0.0                # from the call to the first token
    token_seconds: list[float] = field(default_factory=list)   # gaps between tokens
    peak_rss: int = 0                        # most memory that was resident at once
    bytes_per_token: int = 0                 # bytes of weights that one token has to read
    read_bandwidth: float | None = None      # what this machine reads from memory, where it was measured
    finish_reason: FinishReason | None = None
    context_full: bool = False

    @property
    def prefill_tokens_per_second(self) -> float:
        """Prompt tokens evaluated per second; 0 when none was."""
        return _rate(self.prompt_tokens - self.cached_tokens, self.prefill_seconds)

    @property
    def decode_tokens_per_second(self) -> float:
        """Tokens per second after the first; 0 before there are two."""
        return _rate(len(self.token_seconds), sum(self.token_seconds))

    @property
    def p50(self) -> float:
        """Median gap between two tokens in seconds."""
        return self.percentile(50)

    @property
    def p95(self) -> float:
        """Gap between two tokens in seconds that 95 % of them stay within."""
        return self.percentile(95)

    def percentile(self, percent: float) -> float:
        """The smallest gap that at least `percent` of the gaps do not exceed (nearest rank); 0 without any."""
        return percentile(self.token_seconds, percent)

    @property
    def bandwidth_share(self) -> float | None:
        """Share of the measured read bandwidth that decoding reached; None when it was not measured."""
        if not self.read_bandwidth or not self.token_seconds:
            return None
        return self.bytes_per_token * self.decode_tokens_per_second / self.read_bandwidth

    def summary(self) -> dict[str, float | int | str | bool | None]:
        """Every figure by name, ready for JSON; the gaps as their percentiles."""
        plain = {name: value for name, value in vars(self).items() if name != "token_seconds"}
        derived = ("prefill_tokens_per_second", "decode_tokens_per_second", "p50", "p95", "bandwidth_share")
        return plain | {name: getattr(self, name) for name in derived}


def percentile(values: Iterable[float], percent: float) -> float:
    """The smallest of the values that at least `percent` of them do not exceed (nearest rank); 0 without any."""
    ranked = sorted(values)
    return ranked[max(0, -int(-len(ranked) * percent // 100) - 1)] if ranked else 0.0


def _rate(count: int, seconds: float) -> float:
    return count / seconds if seconds > 0 else 0.0
