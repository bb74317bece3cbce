"""What an answer cost, as lines for a person (`--stats`, `/stats`). Knows only numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgerun.engine.stats import Stats


def figures(stats: Stats) -> str:
    """The lines, without a newline at the end. What was not measured is left out."""
    memory = f" ({stats.cached_tokens} were in memory)" if stats.cached_tokens else ""
    lines = {
        "load": f"{stats.load_seconds:.2f} s",
        "compile": f"{stats.compile_seconds:.2f} s",
        "first token": f"{stats.ttft_seconds:.2f} s",
        "prompt": f"{_tokens(stats.prompt_tokens)}{memory}, {stats.prefill_tokens_per_second:.1f} tokens/s",
        "answer": f"{_tokens(stats.generated_tokens)}, {stats.decode_tokens_per_second:.1f} tokens/s{_bandwidth(stats)}",
        "between tokens": f"{stats.p50 * 1e3:.1f} ms median, {stats.p95 * 1e3:.1f} ms for 95 %" if stats.token_seconds else "",
        "memory": f"{stats.peak_rss / 1e6:.0f} MB at most" if stats.peak_rss else "",
        "ended": "context full; -c makes it larger" if stats.context_full else stats.finish_reason or "",
    }
    return "\n".join(f"{name + ':':<16}{value}" for name, value in lines.items() if value)


def _bandwidth(stats: Stats) -> str:
    """The share of what this machine can read at most that decoding reached."""
    if stats.bandwidth_share is None or stats.read_bandwidth is None:
        return ""
    return f", {stats.bandwidth_share:.0%} of the {stats.read_bandwidth / 1e9:.1f} GB/s this machine reads"


def _tokens(count: int) -> str:
    return f"{count} token" + ("" if count == 1 else "s")
