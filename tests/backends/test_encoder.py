"""Encoders in machine code: the bytes that NumPy makes, whatever the weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "formats"))
from format_cases import CODED, every_codebook, nmse, weights

from edgerun.backends.cpu.encoder import KERNELS, Encoder
from edgerun.backends.cpu.isa import PORTABLE, Isa, choose
from edgerun.backends.cpu.native import Linked
from edgerun.backends.cpu.store import KernelStore
from edgerun.formats import Format, by_name
from edgerun.formats.lent import lending, lent

ISAS = list(dict.fromkeys((choose(), PORTABLE)))
SEARCHED = [fmt for fmt in CODED if not fmt.name.startswith(("IQ1", "IQ2", "IQ3"))]


@pytest.fixture(scope="session", params=ISAS, ids=lambda isa: isa.name)
def encoder(request: pytest.FixtureRequest, shared_home: Path) -> Encoder:
    isa: Isa = request.param
    return Encoder(Linked(KernelStore(isa, shared_home / "kernels").load(KERNELS), isa))


def strange() -> Iterator[np.ndarray]:
    """Rows of 512 weights that no model has."""
    plain = weights(1, 512)[0]
    spike = np.zeros(512)
    spike[7] = 65504
    yield from (np.zeros(512), np.ones(512), -np.ones(512), np.full(512, -60000.0), np.abs(plain), -np.abs(plain), np.round(50 * plain), spike)
    yield from (plain * size for size in (1e-7, 1e-30, 1e-38, 1e-41, 1e4))
    yield np.where(np.arange(512) % 7, plain, 0)


CASES: dict[str, Callable[[], np.ndarray]] = {
    "many": lambda: weights(70, 1024),
    "one": lambda: weights(1, 256),
    "between": lambda: weights(7, 768),
    "strange": lambda: np.array(list(strange()), np.float32),
    "none": lambda: weights(4, 256)[:0],
}


@pytest.mark.parametrize("fmt", SEARCHED, ids=lambda fmt: fmt.name)
@pytest.mark.parametrize("case", CASES)
def test_equal_to_numpy(encoder: Encoder, fmt: Format, case: str) -> None:
    x = CASES[case]()
    x = np.clip(x, -fmt.largest, fmt.largest)
    for importance in (None, np.random.default_rng(1).lognormal(0, 1.5, x.shape[1]).astype(np.float32), np.zeros(x.shape[1], np.float32)):
        wanted = fmt.quantize(x, importance)
        with lending(encoder):
            assert np.array_equal(fmt.quantize(x, importance), wanted)


def test_it_is_asked(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal bytes say nothing where NumPy makes both."""
    asked: list[str] = []

    def watch(name: str, own: Callable) -> None:
        monkeypatch.setattr(Encoder, name, lambda self, *args: (asked.append(name), own(self, *args))[1])

    for name in ("line", "scale", "rounded", "vectors", "floats"):
        watch(name, getattr(Encoder, name))
    x = weights(2, 512)
    with lending(encoder):
        for kind in ("Q4_K", "Q6_K", "Q8_0", "IQ3_S"):
            by_name(kind).quantize(x)
        by_name("F16").dequantize(by_name("F16").quantize(x))
    assert list(dict.fromkeys(asked)) == ["line", "scale", "rounded", "vectors", "floats"]
    asked.clear()
    assert lent() is None
    by_name("Q4_K").quantize(x)
    assert not asked


@every_codebook
@pytest.mark.parametrize("weighed", [False, True])
def test_codebooks_lose_as_much(encoder: Encoder, fmt: Format, weighed: bool) -> None:
    """Their products of matrices have no order, so of two vectors that are nearly as near it may be the other."""
    x = weights(24, 1024)
    importance = np.random.default_rng(1).lognormal(0, 1.5, 1024).astype(np.float32) if weighed else None
    wanted = fmt.quantize(x, importance)
    with lending(encoder):
        found = fmt.quantize(x, importance)
    w = 1.0 if importance is None else importance
    assert nmse(fmt.dequantize(found), x, w) == pytest.approx(nmse(fmt.dequantize(wanted), x, w), rel=1e-3)
    assert (found.reshape(-1, fmt.nbytes) == wanted.reshape(-1, fmt.nbytes)).all(-1).mean() > 0.9


@every_codebook
def test_codebooks_and_strange_weights(encoder: Encoder, fmt: Format) -> None:
    x = CASES["strange"]()
    with lending(encoder):
        found = fmt.dequantize(fmt.quantize(x))
    wanted = fmt.dequantize(fmt.quantize(x))
    assert np.isfinite(found).all()
    for row, mine, other in zip(x, found, wanted, strict=True):
        assert np.square(mine - row, dtype=np.float64).sum() <= 1.01 * np.square(other - row, dtype=np.float64).sum() + 1e-9


def test_halves(encoder: Encoder) -> None:
    fmt, every = by_name("F16"), np.arange(1 << 16, dtype=np.uint16)
    for rows in (every.reshape(256, -1), every[:1003].reshape(17, -1), every[:3, None], every[:0, None]):
        wanted = fmt.dequantize(rows.view(np.uint8))
        with lending(encoder):
            found = fmt.dequantize(rows.view(np.uint8))
        assert np.array_equal(found, wanted, equal_nan=True)
