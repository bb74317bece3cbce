"""What is known of a device: kept, tested again when a run died, and true when a self-test crashes, hangs or lies. Needs no wgpu."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgerun.backends.gpu import verdict as module
from edgerun.backends.gpu.device import Facts
from edgerun.backends.gpu.selftest import Outcome, selftest
from edgerun.backends.gpu.verdict import MOST_DEATHS, Record, Verdict
from edgerun.errors import ResourceError

FACTS = Facts("A GPU", "discrete", "1.2", "Vulkan", "0.32.0", {}, frozenset())
FINE = Outcome((), {"copy": 1e9})

Tests = Callable[[Facts], Outcome]


class Tried:
    """A self-test that counts."""

    def __init__(self, outcome: Outcome = FINE) -> None:
        self.outcome, self.times = outcome, 0

    def __call__(self, facts: Facts) -> Outcome:
        self.times += 1
        return self.outcome


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(FACTS, tmp_path / "devices")


def child(code: str) -> list[str]:
    """A child that does this instead of a self-test; its arguments are the device and a file."""
    return [sys.executable, "-c", f"import json, os, signal, sys, time\nkey, file = sys.argv[1:3]\n{code}"]


# ---- the child ---------------------------------------------------------------------------------------------------------


def test_what_a_child_says() -> None:
    said = "assert json.loads(key) == ['A GPU', 'discrete', '1.2', 'Vulkan']; open(file, 'w').write(json.dumps({'faults': ['Q6_K\\x1b\\n matvec'], 'figures': {'copy': 5e9}}))"
    assert selftest(FACTS, command=child(said)) == Outcome(("Q6_K? matvec",), {"copy": 5e9})


@pytest.mark.parametrize(("code", "fault"), [
    ("os.abort()", "it crashes (SIGABRT)"),
    ("os.kill(os.getpid(), signal.SIGKILL)", "it crashes (SIGKILL)"),
    ("sys.exit(3)", "it crashes (exit code 3)"),
    ("", "it ends without a result"),
    ("open(file, 'w').write('[')", "it ends without a result"),
    ("open(file, 'w').write('{\"faults\": [], \"figures\": {\"copy\": NaN}}')", "it ends without a result"),
    ("open(file, 'w').write('{\"faults\": [7], \"figures\": {}}')", "it ends without a result"),
    ("open(file, 'w').write('[' * 100000)", "it ends without a result"),
    ("open(file, 'w').write(json.dumps({'faults': [], 'figures': {}})); os.abort()", "it crashes (SIGABRT)"),
])  # fmt: skip
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_child_that_fails(code: str, fault: str) -> None:
    assert selftest(FACTS, command=child(code)) == Outcome((fault,))


def test_a_child_that_hangs() -> None:
    begun = time.monotonic()
    assert selftest(FACTS, 0.5, child("signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")) == Outcome(("it does not end within 0.5 s",))
    assert time.monotonic() - begun < 10


def test_no_child_can_be_started() -> None:
    with pytest.raises(ResourceError, match="the self-test of the GPU could not be started: No such file"):
        selftest(FACTS, command=["/nowhere/python"])


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_test_that_is_interrupted_leaves_no_child_and_no_verdict(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_gpu_verdict import FACTS, child
from edgerun.backends.gpu.selftest import selftest
from edgerun.backends.gpu.verdict import Record
hang = child("open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)")
try:
    Record(FACTS, Path({str(tmp_path / 'devices')!r})).judge(lambda facts: selftest(facts, command=hang))
except KeyboardInterrupt:
    sys.exit(7)
"""
    running = subprocess.Popen([sys.executable, "-c", code])
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.wait(10) == 7
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert Record(FACTS, tmp_path / "devices").read() is None


# ---- the verdict -------------------------------------------------------------------------------------------------------


def test_it_is_kept(record: Record, tmp_path: Path) -> None:
    test = Tried()
    assert not record.known()
    assert record.judge(test) == record.judge(test) == Record(FACTS, record.folder).judge(test) == Verdict((), {"copy": 1e9})
    assert test.times == 1
    assert record.known()
    assert record.judge(test).against is None
    assert record.judge(test, fresh=True).against is None
    assert test.times == 2


def test_a_failure_is_kept_too(record: Record) -> None:
    test = Tried(Outcome(("Q6_K matvec, error 3e-2", "argmax")))
    assert record.judge(test).against == "its self-test failed: Q6_K matvec, error 3e-2 (and 1 more)"
    assert record.judge(test).faults == ("Q6_K matvec, error 3e-2", "argmax")
    assert test.times == 1


@pytest.mark.parametrize("other", [{"name": "B"}, {"driver": "1.3"}, {"wgpu": "0.33.0"}, {"backend": "Metal"}, {"kind": "integrated"}])
def test_another_device_driver_or_wgpu_is_tested_anew(record: Record, other: dict[str, str]) -> None:
    record.judge(Tried())
    assert not Record(replace(FACTS, **other), record.folder).known()   # type: ignore[arg-type]


def test_other_kernels_are_tested_anew(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    record.judge(Tried())
    monkeypatch.setattr(module, "_sources_digest", lambda: b"other")
    assert not Record(FACTS, record.folder).known()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"faults": []}', b'{"faults": [], "figures": {}, "deaths": -1}', b"[" * 70000, b'{"faults": [1], "figures": {}, "deaths": 0}'])
def test_a_file_that_makes_no_sense(record: Record, content: bytes) -> None:
    record.judge(Tried())
    (record.folder / f"{record.key}.json").write_bytes(content)
    test = Tried()
    assert record.judge(test) == Verdict((), {"copy": 1e9})
    assert test.times == 1


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    record = Record(FACTS, tmp_path / "file" / "devices")
    test = Tried()
    assert record.judge(test).against is None
    record.begin().end()
    record.judge(test)
    assert test.times == 2


# ---- runs --------------------------------------------------------------------------------------------------------------


def test_a_run_that_ends_leaves_nothing(record: Record) -> None:
    test = Tried()
    record.judge(test)
    first, second = record.begin(), record.begin()
    assert len(list(record.folder.glob("*.run"))) == 2
    assert record.known()
    record.judge(test)   # while they live
    first.end()
    first.end()
    second.end()
    assert not list(record.folder.glob("*.run"))
    record.judge(test)
    assert test.times == 1


def test_a_run_in_which_the_device_was_lost(record: Record) -> None:
    test = Tried()
    record.judge(test)
    run = record.begin()
    run.end(well=False)
    run.end()
    assert not record.known()
    assert record.judge(test).deaths == 1
    assert test.times == 2


def die(record: Record, how: str = "os.kill(os.getpid(), signal.SIGKILL)") -> None:
    """A process that uses the device, and how it ends."""
    code = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_gpu_verdict import FACTS
from edgerun.backends.gpu.verdict import Record
run = Record(FACTS, Path({str(record.folder)!r})).begin()
{how}
"""
    subprocess.run([sys.executable, "-c", code], check=False)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_runs_that_die(record: Record) -> None:
    test = Tried()
    record.judge(test)
    for deaths in range(1, MOST_DEATHS):
        die(record)
        assert not record.known()
        found = record.judge(test)
        assert (found.deaths, found.against, test.times) == (deaths, None, 1 + deaths)
        assert record.known()
    die(record)
    assert record.judge(test).against == "the last 3 runs on it did not end"
    die(record, "")   # the interpreter ends as it should, though nobody said that the run was over
    assert record.judge(test).against is None
    assert json.loads((record.folder / f"{record.key}.json").read_text())["deaths"] == 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_fresh_test_forgives(record: Record) -> None:
    for _ in range(MOST_DEATHS):
        die(record)
    assert record.judge(Tried()).against
    assert record.judge(Tried(), fresh=True).against is None
