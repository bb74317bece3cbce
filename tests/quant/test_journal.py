"""Runs that are killed leave the old file or none, and are continued to the same bytes; disks that are full or closed end in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_convert import checkpoint, llama
from test_convert_view import letters

from edgerun.errors import EdgerunError, OutputError, ResourceError
from edgerun.gguf import open_gguf
from edgerun.gguf.span import Span
from quant import journal as journal_module
from quant.convert import Checkpoint, convert
from quant.convert import Plan as Conversion
from quant.convert.view import open_checkpoint
from quant.importance import Importance
from quant.journal import Journal
from quant.plan import Plan
from quant.quantize import quantize
from quant.recipes import RECIPES

MODEL = Path(__file__).parents[1] / "golden" / "oracle" / "llama" / "model.gguf"
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes to be killed here")
Make = Callable[[Path], object]


def smaller(out: Path, **options: object) -> None:
    with open_gguf(MODEL) as file:
        quantize(file, Plan.of(file, RECIPES["Q4_0"]), out, **options)   # type: ignore[arg-type]


def in_parts(out: Path) -> None:
    smaller(out, most=30_000)


def converting(folder: Path) -> Make:
    letters(checkpoint(folder))

    def make(out: Path) -> None:
        with Checkpoint(folder) as source:
            convert(Conversion.of(source, "f16"), out)

    return make


def smaller_at_once(folder: Path) -> Make:
    view = open_checkpoint(letters(checkpoint(folder)))

    def make(out: Path) -> None:
        quantize(view, Plan.of(view, RECIPES["Q8_0"]), out)

    return make


def copying(folder: Path) -> Make:
    letters(checkpoint(folder, {name: x.astype(np.float16) for name, x in llama().items()}))

    def make(out: Path) -> None:
        with Checkpoint(folder) as source:
            convert(Conversion.of(source, "auto"), out)

    return make


MAKES = {"copy": copying, "quantize": lambda folder: smaller, "parts": lambda folder: in_parts, "convert": converting, "checkpoint": smaller_at_once}


def at_event(number: int, act: Callable[[], None], make: Make, out: Path) -> int:
    """Make the file and act at an event of that number: before and behind every note in a journal, every sync and every renaming. How many there were."""
    seen = 0

    def counted(true: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object) -> object:
            nonlocal seen
            if seen == number:
                act()
            result = true(*arguments)
            if seen + 1 == number:
                act()
            seen += 2
            return result

        return call

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((Journal, "known"), (Journal, "restart"), (Journal, "add"), (Journal, "close"), (os, "replace"), (os, "fsync")):
            patch.setattr(owner, name, counted(getattr(owner, name)))
        make(out)
    return seen


def killed(number: int, make: Make, out: Path) -> None:
    """The same in a process of its own, which is killed."""
    child = os.fork()
    if not child:
        try:
            at_event(number, lambda: os.kill(os.getpid(), signal.SIGKILL), make, out)
        finally:
            os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@needs_fork
@pytest.mark.parametrize("how", MAKES)
def test_killed_at_20_moments_and_continued(tmp_path: Path, how: str) -> None:
    make = MAKES[how](tmp_path / "checkpoint")
    (tmp_path / "whole").mkdir()
    events = at_event(-1, lambda: None, make, tmp_path / "whole" / "m.gguf")
    wanted = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    folder = tmp_path / "killed"
    for number in np.linspace(0, events - 1, 20).astype(int):
        folder.mkdir()
        for name in wanted:
            (folder / name).write_bytes(b"the old one")
        killed(number, make, folder / "m.gguf")
        assert all((folder / name).read_bytes() in (b"the old one", content) for name, content in wanted.items())
        make(folder / "m.gguf")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == wanted
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


def stopped(out: Path, tensor: int, error: type[BaseException], **options: object) -> None:
    """A run that ends when it comes to that tensor."""
    calls = 0

    def progress(done: int, of: int) -> None:
        nonlocal calls
        calls += 1
        if calls == tensor:
            raise error

    with pytest.raises(error):
        smaller(out, progress=progress, **options)


def made(out: Path, **options: object) -> int:
    """How many tensors a run makes."""
    seen: list[int] = []
    smaller(out, progress=lambda done, of: seen.append(done), **options)
    assert seen == sorted(seen)
    assert not list(out.parent.glob("*.part*"))
    return len(seen) - 1


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_is_done_is_not_done_again(tmp_path: Path, error: type[BaseException]) -> None:
    count = made(tmp_path / "whole.gguf")
    out = tmp_path / "m.gguf"
    stopped(out, count - 2, error)
    assert sorted(path.name for path in tmp_path.glob("m.*")) == ["m.gguf.part", "m.gguf.part.journal"]
    assert made(out) == 3
    assert out.read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def damaged(part: Path) -> None:
    content = bytearray(part.read_bytes())
    content[-5000] ^= 1
    part.write_bytes(content)


def cut(part: Path) -> None:
    part.write_bytes(part.read_bytes()[:-5000])


def longer(part: Path) -> None:
    part.write_bytes(part.read_bytes() + bytes(1 << 20))


def other_head(part: Path) -> None:
    part.write_bytes(b"g" + part.read_bytes()[1:])


def journal_of(part: Path) -> Path:
    return part.with_name(part.name + ".journal")


@pytest.mark.parametrize(
    ("change", "fewest"),
    [
        (damaged, 5), (cut, 5), (longer, 4), (other_head, 21), (Path.unlink, 21),
        (lambda part: journal_of(part).unlink(), 21),
        (lambda part: journal_of(part).write_bytes(b"\xff" * 9000), 21),
        (lambda part: journal_of(part).write_bytes(journal_of(part).read_bytes()[:-3]), 5),   # as the system may leave it
        (lambda part: journal_of(part).write_bytes(journal_of(part).read_bytes() + b"00000000\n" * 100), 4),
    ],
)  # fmt: skip
def test_only_what_proves_to_be_there_is_kept(tmp_path: Path, change: Callable[[Path], object], fewest: int) -> None:
    count = made(tmp_path / "whole.gguf")
    assert count == 21
    out = tmp_path / "m.gguf"
    stopped(out, count - 3, KeyboardInterrupt)
    change(out.with_name("m.gguf.part"))
    assert fewest <= made(out) <= (fewest if fewest in (4, 21) else 15)
    assert out.read_bytes() == (tmp_path / "whole.gguf").read_bytes()


def test_copies_are_compared_with_their_source(tmp_path: Path) -> None:
    make, out = copying(tmp_path / "checkpoint"), tmp_path / "m.gguf"
    make(tmp_path / "whole.gguf")
    whole = (tmp_path / "whole.gguf").read_bytes()
    part, seen = tmp_path / "m.gguf.part", []
    with pytest.MonkeyPatch.context() as patch:
        copy = Span.copy_to

        def end(self: Span, to: int) -> None:
            seen.append(self)
            if len(seen) == 5:
                raise KeyboardInterrupt
            copy(self, to)

        patch.setattr(Span, "copy_to", end)
        with pytest.raises(KeyboardInterrupt):
            make(out)
        assert b"00000000" in journal_of(part).read_bytes()
        left = bytearray(part.read_bytes())
        left[-1] ^= 1   # of the fourth copy, or behind it
        part.write_bytes(left)
        make(out)
    assert out.read_bytes() == whole
    assert [span.start for span in seen[5:]] == [span.start for span in seen[3:5]] + [span.start for span in seen[7:]]


def test_another_source_or_other_importance_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, copy = tmp_path / "m.gguf", tmp_path / "copy.gguf"
    copy.write_bytes(MODEL.read_bytes())
    monkeypatch.setattr(sys.modules[__name__], "MODEL", copy)
    with open_gguf(copy) as file:
        shape = file.tensors["blk.0.ffn_up.weight"].shape
    one, other = (Importance({"blk.0.ffn_up.weight": np.full((1, shape[1]), value, np.float32)}) for value in (1, 2))
    stopped(out, 20, KeyboardInterrupt, importance=one)
    assert made(out, importance=other) == 21
    stopped(out, 20, KeyboardInterrupt)
    os.utime(copy, ns=(1, 1))
    assert made(out) == 21
    stopped(out, 20, KeyboardInterrupt)
    with open(copy, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    assert made(out) == 21
    stopped(out, 20, KeyboardInterrupt)
    monkeypatch.setattr(journal_module.edgerun, "__version__", "99")
    assert made(out) == 21


def test_errors_leave_nothing(tmp_path: Path) -> None:
    stopped(tmp_path / "m.gguf", 15, ValueError)
    assert not list(tmp_path.iterdir())


@needs_fork
def test_two_processes_do_not_write_one_file(tmp_path: Path) -> None:
    out = tmp_path / "m.gguf"
    refused: list[str] = []

    def meanwhile(done: int, of: int) -> None:
        if refused:
            return
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            try:
                smaller(out)
            except OutputError as error:
                os.write(writer, str(error).encode())
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(child, 0)
        refused.append(os.read(reader, 1000).decode())
        os.close(reader)

    smaller(out, progress=meanwhile)
    assert refused == [f"{out}: another process is writing it; wait for that, or give another name"]
    assert [path.name for path in tmp_path.iterdir()] == ["m.gguf"]


def test_a_full_disk_is_said_before_and_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "m.gguf"
    out.write_bytes(b"the old one")
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 10_000}))
    with pytest.raises(ResourceError, match="bytes will be needed and 10000 are free there; make room"):
        smaller(out)
    (tmp_path / "m.gguf.part").write_bytes(bytes(200_000))   # which is room, too
    smaller(out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.gguf"]


@pytest.mark.skipif(sys.platform != "linux", reason="no limit of files that ends in an error")
@pytest.mark.parametrize("how", MAKES)
def test_a_disk_that_is_full_on_the_way(tmp_path: Path, how: str) -> None:
    """In a process of its own, whose files cannot grow beyond some size: the system's answer is EFBIG, as it is ENOSPC on a disk."""
    MAKES[how](tmp_path / "checkpoint")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "m.gguf").write_bytes(b"the old one")
    code = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[1]); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pathlib import Path; from test_journal import MAKES; from edgerun.cli.exit import guard\n"
        f"make = MAKES[{how!r}](Path(sys.argv[2]) / 'checkpoint')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        "sys.exit(guard(lambda: make(Path(sys.argv[2]) / 'out' / 'm.gguf')))"
    )
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path), how], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("edgerun: ")
    assert done.stderr.endswith("cannot be written: File too large\n")
    assert len(done.stderr.splitlines()) == 1
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {"m.gguf": b"the old one"}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
@pytest.mark.parametrize("how", MAKES)
def test_a_folder_that_is_read_only(tmp_path: Path, how: str) -> None:
    make = MAKES[how](tmp_path / "checkpoint")
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        make(tmp_path / "out" / "m.gguf")


@pytest.mark.parametrize("how", MAKES)
def test_a_target_that_cannot_be(tmp_path: Path, how: str) -> None:
    make = MAKES[how](tmp_path / "checkpoint")
    (tmp_path / "m.gguf").mkdir()
    (tmp_path / "m.gguf" / "x").touch()
    for target in (tmp_path / "no" / "m.gguf", tmp_path / "m.gguf"):
        if how == "parts" and target.is_dir():
            continue   # whose names are others
        with pytest.raises(EdgerunError, match="cannot be written") as error:
            make(target)
        assert isinstance(error.value, OutputError)
    assert not list(tmp_path.glob("*.part*"))
