"""Encoders in machine code: the bytes that NumPy makes, whatever the weights."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[1] / "formats"))
from format_cases import CODED, weights

from edgerun.backends.cpu.encoder import KERNELS, Encoder
from edgerun.backends.cpu.isa import PORTABLE, Isa, choose
from edgerun.backends.cpu.native import Linked
from edgerun.backends.cpu.store import KernelStore
from edgerun.formats import Format, by_name
from edgerun.formats.lent import lending, lent

ISAS = list(dict.fromkeys((choose(), PORTABLE)))
SEARCHED = [fmt for fmt in CODED if not fmt.name.startswith(("IQ1", "IQ2", "IQ3"))]


@pytest.fixture(scope="session", params=ISAS, ids=lambda isa: isa.name)
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    isa: Isa = request.param
    return Encoder(Linked(KernelStore(isa, tmp_path_factory.mktemp("kernels")).load(KERNELS), isa))


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
    asked = []
    for name in ("line", "scale", "rounded", "floats"):
        monkeypatch.setattr(Encoder, name, lambda self, *args, name=name, own=getattr(Encoder, name): (asked.append(name), own(self, *args))[1])
    x = weights(2, 512)
    with lending(encoder):
        for kind in ("Q4_K", "Q6_K", "Q8_0"):
            by_name(kind).quantize(x)
        by_name("F16").dequantize(by_name("F16").quantize(x))
    assert asked == ["line", "scale", "rounded", "floats"]
    assert lent() is None
    by_name("Q4_K").quantize(x)
    assert len(asked) == 4


def test_halves(encoder: Encoder) -> None:
    fmt, every = by_name("F16"), np.arange(1 << 16, dtype=np.uint16)
    for rows in (every.reshape(256, -1), every[:1003].reshape(17, -1), every[:3, None], every[:0, None]):
        wanted = fmt.dequantize(rows.view(np.uint8))
        with lending(encoder):
            found = fmt.dequantize(rows.view(np.uint8))
        assert np.array_equal(found, wanted, equal_nan=True)
