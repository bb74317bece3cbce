from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hub_server import COMMIT, HubServer

from edgerun import machine
from edgerun.errors import ModelError, ResourceError, SourceError
from edgerun.hub import hub_source, resolve
from edgerun.hub.catalogue import Entry, HubFile
from edgerun.hub.hub_source import HubSource
from edgerun.hub.hubcache import HubCache
from edgerun.hub.source import Wish

MODEL = b"GGUF" + bytes(range(256)) * 300
REF = "hf:user/repo:m-Q4_K_M.gguf"


@pytest.fixture
def sha256(server: HubServer) -> str:
    server.add("user/repo/m-Q8_0.gguf", b"GGUF eight bits")
    server.add("user/repo/README.md", b"text")
    return server.add("user/repo/m-Q4_K_M.gguf", MODEL)


def test_a_named_file_goes_into_the_hubs_cache(server: HubServer, sha256: str, cache: Path) -> None:
    path = resolve(REF)
    folder = cache / "models--user--repo"
    assert path == folder / "snapshots" / COMMIT / "m-Q4_K_M.gguf"
    assert path.read_bytes() == MODEL
    assert path.resolve() == folder / "blobs" / sha256
    assert (folder / "refs" / "main").read_text() == COMMIT
    asked = len(server.seen)
    assert resolve(REF, download=False) == path
    assert len(server.seen) == asked


def test_the_hubs_library_finds_what_we_fetched(server: HubServer, sha256: str, cache: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    path = resolve(REF)
    assert hub.try_to_load_from_cache("user/repo", "m-Q4_K_M.gguf", cache_dir=cache) == str(path)
    assert hub.hf_hub_download("user/repo", "m-Q4_K_M.gguf", cache_dir=cache, endpoint=server.url, local_files_only=True) == str(path)
    (repo,) = hub.scan_cache_dir(cache).repos
    assert (repo.repo_id, repo.size_on_disk, repo.nb_files) == ("user/repo", len(MODEL), 1)


def test_we_find_what_the_hubs_library_fetched(server: HubServer, sha256: str, cache: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    path = hub.hf_hub_download("user/repo", "m-Q4_K_M.gguf", cache_dir=cache, endpoint=server.url)
    server.seen.clear()
    assert resolve(REF) == Path(path)
    assert resolve("hf:user/repo") == Path(path)
    assert not server.seen


def test_a_file_is_chosen_by_quantization(server: HubServer, sha256: str) -> None:
    assert resolve("hf:user/repo:Q8_0").name == "m-Q8_0.gguf"
    assert resolve("hf:user/repo").name == "m-Q8_0.gguf"           # what is here wins
    assert resolve("hf:user/repo:q4_k_m").name == "m-Q4_K_M.gguf"
    assert resolve("hf:user/repo").name == "m-Q4_K_M.gguf"
    with pytest.raises(SourceError, match=r"no file with quantization Q2_K; name one of its files: m-Q4_K_M\.gguf, m-Q8_0\.gguf"):
        resolve("hf:user/repo:Q2_K")


def test_all_parts_of_a_split_model(server: HubServer) -> None:
    names = [f"big-Q4_K_M-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    for name in names:
        server.add(f"user/repo/{name}", b"GGUF" + name.encode())
    seen: list[str] = []
    path = resolve("hf:user/repo", progress=lambda done, total, name: seen.append(name))
    assert path.name == names[0]
    assert sorted(p.name for p in path.parent.iterdir()) == names
    assert list(dict.fromkeys(seen)) == names
    (path.parent / names[1]).unlink()
    with pytest.raises(ModelError, match="not on this machine"):
        resolve("hf:user/repo", download=False)


def test_the_token_goes_to_the_hub_only(server: HubServer, sha256: str) -> None:
    resolve("hf:user/repo:Q4_K_M")
    for method, part in (("GET", "/api/"), ("HEAD", "/resolve/"), ("GET", "/resolve/")):
        assert [h.get("authorization") for h in server.requests(method, part)] == ["Bearer hf_test"] * len(server.requests(method, part))
    assert [h.get("authorization") for h in server.requests("GET", "/store/")] == [None]


def test_a_cut_is_continued_from_the_same_commit(server: HubServer, sha256: str) -> None:
    server.faults.append(("cut", 10_000))
    assert resolve(REF).read_bytes() == MODEL
    assert [h.get("range") for h in server.requests("GET", "/store/")] == [None, "bytes=10000-"]
    assert all(f"/resolve/{COMMIT}/" in path for method, path, _ in server.seen if method == "GET" and "/resolve/" in path)


def test_a_damaged_file_is_not_kept(server: HubServer, sha256: str, cache: Path) -> None:
    server.faults.append(("body", MODEL[:-1] + b"?"))
    with pytest.raises(SourceError, match="SHA-256"):
        resolve(REF)
    assert list((cache / "models--user--repo").rglob("*.*")) == []
    assert resolve(REF).read_bytes() == MODEL


@pytest.mark.parametrize(("fault", "message"), [
    (("status", 401, {"X-Error-Code": "RepoNotFound"}), "no such repository, or it is private"),
    (("status", 403, {"X-Error-Code": "GatedRepo"}), "acceptance of its licence"),
    (("status", 404, {"X-Error-Code": "EntryNotFound"}), "no such file"),
    (("status", 200, {"X-Repo-Commit": "../../../etc"}), "not what a hub answers"),
    (("status", 200, {"X-Repo-Commit": COMMIT, "ETag": '"../../evil"'}), "not what a hub answers"),
    (("status", 200, {}), "not what a hub answers"),
    (("redirect", "ftp://example.org/"), "not an HTTP address"),
])  # fmt: skip
def test_answers_about_a_file(server: HubServer, sha256: str, cache: Path, fault: tuple, message: str) -> None:
    server.head_faults.append(fault)
    with pytest.raises(SourceError, match=message):
        resolve(REF)
    assert not cache.exists()


@pytest.mark.parametrize("body", [b"{}", b"nonsense", b"[[[[", b'[{"type": "file", "path": 7}, 3, null]'])
def test_answers_about_a_repository(server: HubServer, sha256: str, body: bytes) -> None:
    server.head_faults.append(("body", body))
    with pytest.raises(SourceError, match=r"not what a hub answers|no file with quantization"):
        resolve("hf:user/repo:Q8_0")


@pytest.mark.parametrize("name", ["../../../evil.gguf", "/etc/evil.gguf", "a\\b.gguf", "con.gguf", "x\x1b[2J.gguf"])
def test_hostile_names_in_a_repository(server: HubServer, name: str, cache: Path) -> None:
    server.add(f"user/repo/{name}", b"GGUF")
    with pytest.raises(SourceError, match="not a safe file name"):
        resolve("hf:user/repo")
    assert not cache.exists()


def test_missing_repository_and_file(server: HubServer, sha256: str) -> None:
    with pytest.raises(SourceError, match="no such repository"):
        resolve("hf:nobody/nothing")
    with pytest.raises(SourceError, match="no such file"):
        resolve("hf:user/repo:other.gguf")


def test_offline(server: HubServer, sha256: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(SourceError, match="HF_HUB_OFFLINE"):
        resolve(REF)
    assert not server.seen


# ---- the catalogue's wishes ----------------------------------------------------------------------------------------------


def test_another_file_than_the_catalogue_means(server: HubServer, sha256: str) -> None:
    with pytest.raises(SourceError, match="holds another"):
        HubSource("user/repo", "m-Q4_K_M.gguf", sha256="0" * 64).fetch(Wish())
    assert HubSource("user/repo", "m-Q4_K_M.gguf", sha256=sha256).fetch(Wish()).read_bytes() == MODEL


def test_a_probe_is_short_and_not_repeated(server: HubServer, sha256: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_source, "PROBE", 0.1)
    server.head_faults.append(("stall", 0, 0.5))
    source = HubSource("user/repo", "m-Q4_K_M.gguf")
    begun = time.monotonic()
    for _ in range(3):
        with pytest.raises(SourceError, match=r"no answer within 0\.1 s"):
            source.probe()
    assert time.monotonic() - begun < 0.4
    assert len(server.seen) == 1


def test_a_refusal_does_not_condemn_the_hub(server: HubServer, sha256: str) -> None:
    with pytest.raises(SourceError, match="no such file"):
        HubSource("user/repo", "other.gguf").probe()
    source = HubSource("user/repo", "m-Q4_K_M.gguf")
    source.probe()
    source.fetch(Wish())
    assert len(server.requests("HEAD")) == 2   # what the probe learned is used


def test_a_hub_that_is_not_there_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(SourceError, match="refused"):
        HubSource("user/repo", "m.gguf").probe()
    assert "http://127.0.0.1:9" in hub_source._unreachable


# ---- room ----------------------------------------------------------------------------------------------------------------


def test_full_disk(server: HubServer, sha256: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 10**7, 10**7))   # type: ignore[attr-defined]
    with pytest.raises(ResourceError, match=r"not enough disk: 0\.1 MB are needed in .*HF_HOME"):
        resolve(REF)
    assert server.requests("GET") == []
    assert not (cache / "models--user--repo").exists()


def test_too_large_for_memory(server: HubServer, sha256: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory", lambda: machine.Memory(1000, "limit of the control group"))
    with pytest.raises(ResourceError, match=r"needs more than 0\.1 MB of memory .*edgerun pull --force"):
        resolve(REF)
    assert resolve(REF, force=True).read_bytes() == MODEL


# ---- company -------------------------------------------------------------------------------------------------------------


def test_two_threads_fetch_it_once(server: HubServer, sha256: str) -> None:
    server.faults.append(("stall", 40_000, 0.3))
    notes: list[str] = []
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(resolve(REF, note=notes.append))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths[0] == paths[1]
    assert paths[0].read_bytes() == MODEL
    assert notes == ["another process is fetching m-Q4_K_M.gguf; waiting for it"]
    assert len(server.requests("GET", "/store/")) == 1


def test_two_processes_fetch_it_once(server: HubServer, sha256: str) -> None:
    server.faults.append(("stall", 40_000, 0.5))
    program = [sys.executable, "-c", f"from edgerun.hub import resolve; print(resolve({REF!r}))"]
    both = [subprocess.Popen(program, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    paths = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert Path(paths.pop()).read_bytes() == MODEL
    assert not paths
    assert len(server.requests("GET", "/store/")) == 1


def test_without_links_the_content_itself_is_the_file(server: HubServer, sha256: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    path = resolve(REF)
    assert not path.is_symlink()
    assert path.read_bytes() == MODEL
    assert HubSource("user/repo", "m-Q4_K_M.gguf").fetch(Wish()) == path
    assert len(server.requests("GET", "/store/")) == 1
    assert HubCache().remove("user/repo", "m-Q4_K_M.gguf") == len(MODEL)


def test_entry_with_a_hub_file(server: HubServer, sha256: str) -> None:
    entry = Entry("m:1", (HubFile("user/repo", "m-Q4_K_M.gguf"),), len(MODEL), "mit", 100, sha256, {}, ())
    assert not entry.verified
