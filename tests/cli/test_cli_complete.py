from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import edgerun
from edgerun.cli import complete


def offered(*words: str, shell: str = "bash", **more: str) -> list[str]:
    """What is offered after TAB at the end of the last word, as bash has split the line."""
    environment = os.environ | {
        "PYTHONPATH": str(Path(edgerun.__file__).parents[1]), "_EDGERUN_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1), "_TYPER_COMPLETE_ARGS": " ".join(words),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "edgerun"], capture_output=True, text=True, env=environment | more)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_commands() -> None:
    assert offered("edgerun", "r") == ["run", "rm"]


def test_options() -> None:
    assert offered("edgerun", "run", "--top") == ["--top-k", "--top-p"]


def test_models_of_the_catalogue() -> None:
    names = offered("edgerun", "run", "-m", "smollm2")
    assert {"smollm2:135m", "smollm2:360m", "smollm2:1.7b"} <= set(names)
    names = offered("edgerun", "pull", "smollm2:1", shell="fish", _TYPER_COMPLETE_FISH_ACTION="get-args")
    assert {"smollm2:135m", "smollm2:1.7b"} <= set(names)
    assert all(name.startswith("smollm2:1") for name in names)


def test_models_here(home: Path) -> None:
    folder = home / "models" / "example-0123"
    folder.mkdir(parents=True)
    (folder / "tiny.gguf").write_bytes(b"GGUF")
    (folder / "source.json").write_text('{"url": "https://example.org/tiny.gguf"}')
    assert offered("edgerun", "run", "-m", "https", ":", "//ex") == ["//example.org/tiny.gguf"]


def test_bash_takes_words_apart_at_colons() -> None:
    assert offered("edgerun", "run", "-m", "smollm2", ":", "36")[0] == "360m"
    assert set(offered("edgerun", "run", "-m", "smollm2", ":")) >= {"135m", "360m"}


def test_a_damaged_catalogue_offers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complete, "_names", lambda: 1 / 0)
    assert complete.models("s") == []


def test_words_are_joined() -> None:
    environ = {"_EDGERUN_COMPLETE": "complete_bash", "COMP_WORDS": "edgerun\nrun\n-m\nhf\n:\nuser/re\nHi", "COMP_CWORD": "5"}
    assert complete.join_colons(environ) == "hf:"
    assert environ["COMP_WORDS"].split("\n") == ["edgerun", "run", "-m", "hf:user/re", "Hi"]
    assert environ["COMP_CWORD"] == "3"
