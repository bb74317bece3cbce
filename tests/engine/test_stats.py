from __future__ import annotations

import json

import pytest

from edgerun.engine.stats import Stats


def test_rates() -> None:
    stats = Stats(prompt_tokens=100, cached_tokens=40, prefill_seconds=0.5, generated_tokens=5, token_seconds=[0.1, 0.1, 0.1, 0.2])
    assert stats.prefill_tokens_per_second == 120
    assert stats.decode_tokens_per_second == pytest.approx(8)


def test_percentiles_are_gaps_that_happened() -> None:
    stats = Stats(token_seconds=[i / 100 for i in range(100, 0, -1)])
    assert (stats.p50, stats.p95, stats.percentile(100), stats.percentile(0)) == (0.5, 0.95, 1.0, 0.01)
    assert Stats(token_seconds=[3.0]).p95 == 3.0


def test_nothing_measured_is_zero() -> None:
    stats = Stats()
    assert (stats.prefill_tokens_per_second, stats.decode_tokens_per_second, stats.p50, stats.p95, stats.bandwidth_share) == (0, 0, 0, 0, None)


def test_share_of_the_bandwidth() -> None:
    stats = Stats(token_seconds=[0.01] * 4, bytes_per_token=100_000_000, read_bandwidth=25e9)
    assert stats.bandwidth_share == pytest.approx(0.4)


def test_summary_is_json() -> None:
    summary = json.loads(json.dumps(Stats(token_seconds=[0.1]).summary()))
    assert summary["p50"] == 0.1
    assert "token_seconds" not in summary
