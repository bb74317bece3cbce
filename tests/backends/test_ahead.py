"""Compiling ahead: the kernels are those that a compiled model has, and no weight is read for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import model

from edgerun.backends import cpu
from edgerun.backends.cpu import ahead, ceilings
from edgerun.backends.cpu import executor as module
from edgerun.backends.cpu import isa as isas
from edgerun.backends.cpu.store import KernelStore
from edgerun.errors import OutputError


class Unreadable:
    """A tensor whose values must not be asked for."""

    def __init__(self, tensor: object) -> None:
        self._tensor = tensor

    def __getattr__(self, name: str) -> object:
        assert name != "read", "a weight was read"
        return getattr(self._tensor, name)


class Store:
    """In place of the kernel store: keeps names only."""

    kept: set[str] = set()
    takes = True

    def __init__(self, isa: isas.Isa) -> None:
        self.folder = Path("home") / "kernels" / "x"

    def missing(self, names: set[str]) -> list[str]:
        return sorted(set(names) - self.kept)

    def load(self, names: set[str], progress: object) -> None:
        if self.takes:
            Store.kept = self.kept | set(names)


@pytest.mark.parametrize("options", [{}, {"numerics": "exact", "kv": "f32"}], ids=["fast", "exact"])
def test_they_are_the_kernels_of_the_model(options: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[set[str]]()
    real = KernelStore.load

    def load(store: KernelStore, names: set[str], progress: object = None) -> object:
        asked.append(set(names))
        return real(store, names)

    monkeypatch.setattr(KernelStore, "load", load)
    program, tensors = model()
    cpu.compile(program, tensors, pages=1, threads=2, **options).close()
    unread = {name: Unreadable(tensor) for name, tensor in tensors.items()}
    assert [module.kernels(program, unread, **options)] == asked   # type: ignore[arg-type]


def test_a_second_time_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "KernelStore", Store)
    monkeypatch.setattr(Store, "kept", set())
    program, tensors = model()
    wanted = module.kernels(program, tensors) | set(ceilings.KERNELS)
    assert cpu.warm(program, tensors) == len(wanted)
    assert cpu.warm(program, tensors) == 0
    assert cpu.warm(program, tensors, kv="f32") == 3   # attention, store, merge
    assert Store.kept > wanted


def test_a_place_that_keeps_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "KernelStore", Store)
    monkeypatch.setattr(Store, "kept", set())
    monkeypatch.setattr(Store, "takes", False)
    with pytest.raises(OutputError, match=r"cannot be kept in 'home/kernels'; make it writable"):
        cpu.warm(*model())
