"""Kernels kept as machine code: what is taken, what is refused and made anew, and several processes at once."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import llvmlite
import pytest
from objects import assemble
from tiny import model

from edgerun import config
from edgerun.backends import cpu
from edgerun.backends.cpu import isa as isas
from edgerun.backends.cpu import store as module
from edgerun.backends.cpu.isa import PORTABLE, choose
from edgerun.backends.cpu.store import MAGIC, KernelStore

NAMES = ["one-a", "two-b"]
EVIL = "declare i64 @system(i64)\ndefine i64 @{0}(i64 %x) {{\n %y = call i64 @system(i64 %x)\n ret i64 %y\n}}\n"


def plain(name: str) -> tuple[str, bytes]:
    symbol = name.replace("-", "_")
    return symbol, assemble(f"define i64 @{symbol}(i64 %x) {{\n ret i64 %x\n}}\n")


class Compiler:
    """In place of the child processes: gives small objects and counts what was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.objects = {name: plain(name) for name in NAMES}

    def __call__(self, names: list[str], isa: isas.Isa, progress: object) -> Iterator[tuple[str, str, bytes]]:
        for name in names:
            self.asked.append(name)
            yield name, *self.objects[name]


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    compiler = Compiler()
    monkeypatch.setattr(module, "compile_kernels", compiler)
    return compiler


@pytest.fixture
def store(compiler: Compiler, tmp_path: Path) -> KernelStore:
    """A store that holds both kernels."""
    store = KernelStore(choose(), tmp_path / "home" / "kernels")
    assert store.load(NAMES) == compiler.objects
    compiler.asked.clear()
    return store


def entry(store: KernelStore, name: str = "one-a") -> Path:
    return store.folder / f"{name}.o"


# ---- what is kept ------------------------------------------------------------------------------------------------------


def test_what_was_compiled_is_there_the_next_time(store: KernelStore, compiler: Compiler) -> None:
    assert store.load(reversed(NAMES)) == compiler.objects
    assert KernelStore(choose(), store.folder.parent).load(["two-b"]) == {"two-b": compiler.objects["two-b"]}
    assert compiler.asked == []


def test_only_the_user_can_read_and_write_it(store: KernelStore) -> None:
    assert sorted(path.name for path in store.folder.iterdir()) == ["lock", "one-a.o", "two-b.o"]
    assert {oct(path.stat().st_mode & 0o777) for path in store.folder.iterdir()} == {"0o600"}
    assert {oct(path.stat().st_mode & 0o777) for path in (store.folder, store.folder.parent)} == {"0o700"}


def test_only_what_is_missing_is_compiled(store: KernelStore, compiler: Compiler) -> None:
    entry(store).unlink()
    assert store.load(NAMES) == compiler.objects
    assert compiler.asked == ["one-a"]


def test_a_kernel_that_refers_to_others_is_a_bug_and_not_kept(compiler: Compiler, tmp_path: Path) -> None:
    """Linking it would end the process without a word where the symbol is not found."""
    compiler.objects["one-a"] = "one_a", assemble(EVIL.format("one_a"))
    store = KernelStore(choose(), tmp_path / "kernels")
    with pytest.raises(RuntimeError, match=r"one-a .* refers to something outside itself"):
        store.load(["one-a"])
    assert not entry(store).exists()


def test_the_key_says_what_decides_the_code(compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def folder(isa: isas.Isa = PORTABLE) -> str:
        return KernelStore(isa, tmp_path).folder.name

    names = [folder(), folder(replace(PORTABLE, cpu="nehalem")), folder(replace(PORTABLE, name="other"))]
    for target in (("some-cpu", "+avx2"), ("some-cpu", "+avx2,+fma"), ("another-cpu", "+avx2")):
        monkeypatch.setattr(isas, "host", lambda target=target: target)
        names.append(folder(replace(PORTABLE, cpu=None)))
    monkeypatch.setattr(llvmlite, "__version__", "0.0.1")
    names.append(folder())
    assert len(set(names)) == len(names)


def test_a_change_of_any_source_makes_a_new_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "edgerun"
    shutil.copytree(Path(isas.__file__).parents[2], package, ignore=shutil.ignore_patterns("__pycache__", "cli", "text", "hub"))
    monkeypatch.setattr(module, "__file__", str(package / "backends" / "cpu" / "store.py"))
    keys = [KernelStore(PORTABLE, tmp_path).folder.name]
    for source in ("backends/cpu/kernels/row.py", "backends/cpu/compiler.py", "backends/executor.py", "formats/q4_k.py", "formats/packing.py"):
        with open(package / source, "a") as file:
            file.write("# changed\n")
        keys.append(KernelStore(PORTABLE, tmp_path).folder.name)
    (package / "formats" / "q9_9.py").write_text("")
    keys.append(KernelStore(PORTABLE, tmp_path).folder.name)
    assert len(set(keys)) == len(keys)


# ---- what is refused ---------------------------------------------------------------------------------------------------


def sealed(store: KernelStore, name: str, payload: bytes) -> bytes:
    """An entry with a digest as it must be."""
    return MAGIC + hashlib.sha256(f"{store.folder.name}/{name}\0".encode() + payload).digest() + payload


def flipped(at: int) -> Callable[[KernelStore, Path], None]:
    def damage(store: KernelStore, path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    return damage


def written(data: Callable[[KernelStore, bytes], bytes]) -> Callable[[KernelStore, Path], object]:
    return lambda store, path: path.write_bytes(data(store, path.read_bytes()))


def replaced(make: Callable[[KernelStore, Path], object]) -> Callable[[KernelStore, Path], None]:
    def damage(store: KernelStore, path: Path) -> None:
        os.replace(path, path.with_name("elsewhere"))
        make(store, path)

    return damage


def huge(store: KernelStore, path: Path) -> None:
    """A sound entry that goes on and on."""
    payload = path.read_bytes()[len(MAGIC) + 32 :] + bytes(1 << 24)
    path.write_bytes(sealed(store, "one-a", payload))


DAMAGES: dict[str, Callable[[KernelStore, Path], object]] = {
    "empty": written(lambda store, data: b""),
    "cut short": written(lambda store, data: data[:-1]),
    "cut in the digest": written(lambda store, data: data[: len(MAGIC) + 9]),
    "longer": written(lambda store, data: data + b"\0"),
    "another magic": flipped(0),
    "another version": flipped(len(MAGIC) - 2),
    "another digest": flipped(len(MAGIC)),
    "another symbol": flipped(len(MAGIC) + 32),
    "other code": flipped(-1),
    "a symbol that is no text": written(lambda store, data: sealed(store, "one-a", b"\xff\0" + data[len(MAGIC) + 38 :])),
    "no object": written(lambda store, data: sealed(store, "one-a", b"one_a\0")),
    "text": written(lambda store, data: sealed(store, "one-a", b"one_a\0garbage, which would end the process when linked")),
    "another kernel": lambda store, path: shutil.copy(entry(store, "two-b"), path),
    "a kernel that calls system": written(lambda store, data: sealed(store, "one-a", b"one_a\0" + assemble(EVIL.format("one_a")))),
    "huge": huge,
    "writable by the group": lambda store, path: path.chmod(0o620),
    "writable by all": lambda store, path: path.chmod(0o602),
    "a link": replaced(lambda store, path: path.symlink_to("elsewhere")),
    "a link to nowhere": replaced(lambda store, path: path.symlink_to("nowhere")),
    "a pipe": replaced(lambda store, path: os.mkfifo(path)),
    "a folder": replaced(lambda store, path: path.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_or_foreign_entry_is_ignored_and_made_anew(store: KernelStore, compiler: Compiler, damage: Callable[[KernelStore, Path], object]) -> None:
    damage(store, entry(store))
    assert store.load(NAMES) == compiler.objects
    assert compiler.asked == ["one-a"]
    if not entry(store).is_dir():
        compiler.asked.clear()
        assert store.load(NAMES) == compiler.objects
        assert compiler.asked == []
    assert not list(store.folder.glob(".*"))


def test_an_entry_for_another_target_is_refused(store: KernelStore, compiler: Compiler) -> None:
    other = KernelStore(replace(choose(), name="other"), store.folder.parent)
    shutil.copytree(store.folder, other.folder)
    assert other.load(["one-a"]) == {"one-a": compiler.objects["one-a"]}
    assert compiler.asked == ["one-a"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["entry", "folder", "parent"])
def test_what_belongs_to_another_user_is_refused(store: KernelStore, compiler: Compiler, what: str) -> None:
    os.chown({"entry": entry(store), "folder": store.folder, "parent": store.folder.parent}[what], 12345, -1)
    before = {path.name: path.stat().st_ino for path in store.folder.iterdir()}
    assert store.load(NAMES) == compiler.objects
    assert compiler.asked == (["one-a"] if what == "entry" else NAMES)
    if what != "entry":
        assert {path.name: path.stat().st_ino for path in store.folder.iterdir()} == before


def test_nothing_belongs_to_this_user(store: KernelStore, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    uid = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: uid)
    assert store.load(NAMES) == compiler.objects
    assert compiler.asked == NAMES


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
@pytest.mark.parametrize("which", ["folder", "parent"])
def test_a_folder_that_others_can_write_is_not_used(store: KernelStore, compiler: Compiler, which: str, mode: int) -> None:
    folder = store.folder if which == "folder" else store.folder.parent
    folder.chmod(mode)
    entry(store, "two-b").unlink()
    for _ in range(2):
        assert store.load(NAMES) == compiler.objects
    assert compiler.asked == NAMES * 2
    assert not entry(store, "two-b").exists()


@pytest.mark.parametrize("which", ["folder", "parent"])
def test_a_linked_folder_is_not_used(store: KernelStore, compiler: Compiler, which: str) -> None:
    folder = store.folder if which == "folder" else store.folder.parent
    real = folder.with_name("real")
    folder.rename(real)
    folder.symlink_to("real")
    entry(store, "two-b").unlink()
    assert store.load(NAMES) == compiler.objects
    assert compiler.asked == NAMES
    assert not entry(store, "two-b").exists()


# ---- homes that take nothing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["home", "kernels", "the folder itself"])
def test_a_file_where_a_folder_should_be(compiler: Compiler, tmp_path: Path, what: str) -> None:
    store = KernelStore(choose(), tmp_path / "home" / "kernels")
    blocked = {"home": tmp_path / "home", "kernels": tmp_path / "home" / "kernels", "the folder itself": store.folder}[what]
    blocked.parent.mkdir(parents=True, exist_ok=True)
    blocked.write_text("mine")
    assert store.load(NAMES) == compiler.objects
    assert blocked.read_text() == "mine"


@pytest.mark.parametrize("call", ["mkdir", "open", "replace"])
def test_a_read_only_home_keeps_kernels_in_memory(compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def refuse(path: object, *args: object, **options: object) -> int:
        if str(tmp_path) in str(path) and not (call == "open" and args[0] == os.O_RDONLY):
            raise OSError(30, "Read-only file system")
        return real(path, *args, **options)

    real = getattr(os, call)
    monkeypatch.setattr(os, call, refuse)
    store = KernelStore(choose(), tmp_path / "kernels")
    assert store.load(NAMES) == compiler.objects
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"]


def test_a_full_disk_leaves_no_part(store: KernelStore, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(store).unlink()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert store.load(NAMES) == compiler.objects
    assert sorted(path.name for path in store.folder.iterdir()) == ["lock", "two-b.o"]


def test_ctrl_c_while_writing_leaves_no_part(store: KernelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(store).unlink()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.load(NAMES)
    assert sorted(path.name for path in store.folder.iterdir()) == ["lock", "two-b.o"]


def test_no_home_at_all(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without an entry and without HOME, as in some containers."""
    monkeypatch.undo()
    monkeypatch.setattr(module, "compile_kernels", compiler)
    for name in ("EDGERUN_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    assert KernelStore(choose(), config.kernels_folder()).load(NAMES) == compiler.objects
    assert not Path("~").exists()


# ---- other processes -------------------------------------------------------------------------------------------------------


def hold(path: Path) -> int:
    """Lock a file as another process would."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def test_one_that_hangs_is_not_waited_for_forever(store: KernelStore, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    entry(store).unlink()
    fd = hold(store.folder / "lock")
    begun = time.monotonic()
    assert store.load(NAMES) == compiler.objects
    assert time.monotonic() - begun >= 0.3
    os.close(fd)


def test_the_lock_of_windows(store: KernelStore, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def locking(fd: int, mode: int, count: int) -> None:
        tries.append(count)
        if len(tries) < 3:
            raise PermissionError

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", SimpleNamespace(locking=locking, LK_NBLCK=2))
    entry(store).unlink()
    assert store.load(NAMES) == compiler.objects
    assert tries == [1, 1, 1]


def test_a_system_without_owners_and_rights(store: KernelStore, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows: every folder looks as if all could write it, and links are known by an attribute."""
    monkeypatch.delattr(os, "getuid")
    store.folder.chmod(0o777)
    assert store.load(NAMES) == compiler.objects
    assert compiler.asked == []
    assert not module._ours(SimpleNamespace(st_file_attributes=0x410))
    assert module._ours(SimpleNamespace(st_file_attributes=0x10))


def test_nobody_else_can_make_this_one_wait(store: KernelStore, compiler: Compiler) -> None:
    """A lock in a folder that others can write means nothing."""
    fd = hold(store.folder / "lock")
    store.folder.chmod(0o777)
    begun = time.monotonic()
    assert store.load(NAMES) == compiler.objects
    assert time.monotonic() - begun < 1
    os.close(fd)


def test_what_another_one_made_meanwhile_is_taken(store: KernelStore, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    entry(store).rename(store.folder / "made")
    monkeypatch.setattr(module, "_wait_for", lambda fd, waiting: (store.folder / "made").rename(entry(store)))
    assert store.load(NAMES) == compiler.objects
    assert compiler.asked == []


def test_who_waits_says_how_far_the_other_one_is(store: KernelStore, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.25)
    entry(store).unlink()
    fd, said = hold(store.folder / "lock"), list[tuple[int, int]]()
    store.load(NAMES, lambda *call: said.append(call))
    os.close(fd)
    assert len(said) >= 2
    assert set(said) == {(1, 2)}   # the compiler of this test says nothing


def test_what_is_missing(store: KernelStore) -> None:
    assert store.missing([*NAMES, "three-c"]) == ["three-c"]
    entry(store).write_bytes(b"garbage")
    assert store.missing(reversed(NAMES)) == ["one-a"]


def environment(**more: str) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | more


def test_many_processes_start_at_once_and_one_compiles(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom edgerun.backends.cpu import store\nfrom edgerun.backends.cpu.isa import choose\n"
        "from edgerun.backends.cpu.native import Linked\ncompiled, real = [], store.compile_kernels\n"
        "store.compile_kernels = lambda names, *more: compiled.extend(names) or real(names, *more)\n"
        "found = store.KernelStore(choose(), pathlib.Path(sys.argv[1])).load(['run-chain', 'row-select'])\n"
        "assert sorted(Linked(found, choose()).addresses) == ['row-select', 'run-chain']\nprint(len(compiled))"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "kernels")]
    processes = [subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE) for _ in range(4)]
    counts = [int(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert sorted(counts) == [0, 0, 0, 2]


def test_a_warm_start_loads_neither_numba_nor_a_compiler(shared_home: Path) -> None:
    cpu.compile(*model(), pages=1, threads=2).close()   # now the kernels are there
    code = (
        "import subprocess, sys\nsubprocess.Popen = None\nfrom tiny import batch, model, text\nfrom edgerun.backends import cpu\n"
        "executor = cpu.compile(*model(), pages=1, threads=2)\nassert executor.step(batch(text(3), [[0]])).any()\nexecutor.close()\n"
        "print(sorted({'numba', 'edgerun.backends.cpu.kernels.simd'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], env=environment(EDGERUN_HOME=str(shared_home)), capture_output=True, text=True, timeout=60)
    assert (result.stdout, result.stderr) == ("[]\n", "")
