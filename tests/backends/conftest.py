from __future__ import annotations

import pytest

from edgerun.backends.cpu.isa import Isa, runnable


@pytest.fixture(params=runnable(), ids=lambda isa: isa.name)
def forced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Isa:
    """The kernels of each ISA that this CPU can run, in turn."""
    isa: Isa = request.param
    monkeypatch.setenv("EDGERUN_ISA", isa.name)
    return isa
