"""Old kernel folders: which are removed, and what never is."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

import pytest

from edgerun.backends.cpu.sweep import KEPT, mark_used, sweep

OLD, CURRENT = f"avx2-{'0' * 24}", f"avx2-{'1' * 24}"


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """Holds the current folder and an old one."""
    for name in (OLD, CURRENT):
        folder(tmp_path, name)
    return tmp_path


def folder(parent: Path, name: str, *more: str) -> Path:
    """A folder with entries, unused for longer than is kept."""
    path = parent / name
    path.mkdir(mode=0o700)
    for file in ("lock", "row-norm-rms.o", ".product-Q4_K.abcd1234", *more):
        (path / file).write_text("")
    age(path)
    return path


def age(path: Path, seconds: float = KEPT + 60) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def there(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir())


def test_an_old_folder_goes_and_the_current_one_stays(parent: Path) -> None:
    sweep(parent, parent / CURRENT)
    assert there(parent) == [CURRENT]
    assert len(there(parent / CURRENT)) == 3


def test_one_used_lately_stays(parent: Path) -> None:
    age(parent / OLD, KEPT - 60)
    sweep(parent, parent / CURRENT)
    assert there(parent) == [OLD, CURRENT]


def test_use_is_noted_once_a_day(parent: Path) -> None:
    mark_used(parent / OLD)
    assert time.time() - (parent / OLD).stat().st_mtime < 60
    age(parent / OLD, 3600)
    mark_used(parent / OLD)
    assert time.time() - (parent / OLD).stat().st_mtime > 3000
    mark_used(parent / "nothing")


def test_what_is_not_the_stores_own_stays(parent: Path) -> None:
    for name in ("avx2", "notes-of-mine", f"avx2-{'g' * 24}", f"{OLD}x"):
        folder(parent, name)
    folder(parent, f"portable-{'2' * 24}", "notes.txt")
    (parent / f"portable-{'2' * 24}" / "things.o").mkdir()
    age(parent / f"portable-{'2' * 24}")
    sweep(parent, parent / CURRENT)
    assert there(parent) == sorted([CURRENT, "avx2", "notes-of-mine", f"avx2-{'g' * 24}", f"{OLD}x", f"portable-{'2' * 24}"])
    assert there(parent / f"portable-{'2' * 24}") == ["notes.txt", "things.o"]


def test_links_are_not_followed(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = folder(tmp_path_factory.mktemp("else"), OLD)
    (parent / f"avx2-{'3' * 24}").symlink_to(elsewhere)
    os.utime(parent / f"avx2-{'3' * 24}", (0, 0), follow_symlinks=False)
    (parent / OLD / "a.o").symlink_to(elsewhere / "row-norm-rms.o")
    age(parent / OLD)
    sweep(parent, parent / CURRENT)
    assert len(there(elsewhere)) == 3
    assert there(parent / OLD) == ["a.o"]


def test_one_that_others_can_write_stays(parent: Path) -> None:
    (parent / OLD).chmod(0o777)
    sweep(parent, parent / CURRENT)
    assert OLD in there(parent)


def test_one_that_another_process_compiles_into_stays(parent: Path) -> None:
    fd = os.open(parent / OLD / "lock", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    age(parent / OLD)
    sweep(parent, parent / CURRENT)
    os.close(fd)
    assert len(there(parent / OLD)) == 3


def test_nothing_there(tmp_path: Path) -> None:
    sweep(tmp_path / "nothing", tmp_path / "nothing" / CURRENT)
