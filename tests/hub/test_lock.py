from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgerun.errors import ResourceError
from edgerun.hub.lock import Lock


def test_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "a" / "lock"
    with Lock(path):
        assert not Lock(path).acquire()
    second = Lock(path)
    assert second.acquire()
    second.release()


def test_waiting_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import time, pathlib; from edgerun.hub.lock import Lock\nwith Lock(pathlib.Path({str(path)!r})): print(flush=True); time.sleep(0.4)"],
        stdout=subprocess.PIPE,
    )
    assert holder.stdout
    holder.stdout.readline()
    said: list[str] = []
    with Lock(path, lambda: said.append("waiting")):
        assert said == ["waiting"]
        holder.wait()
    holder.stdout.close()


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    subprocess.run([sys.executable, "-c", f"import os, pathlib; from edgerun.hub.lock import Lock; Lock(pathlib.Path({str(path)!r})).acquire(); os._exit(1)"])
    assert Lock(path).acquire()


def test_no_place_for_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot be written"):
        Lock(tmp_path / "file" / "lock").acquire()
