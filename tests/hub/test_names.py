from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.errors import SourceError
from edgerun.hub.names import is_plain, safe_path, shown, slug

HOSTILE = [
    "", ".", "..", "../x.gguf", "a/../b.gguf", "/etc/passwd", "a//b", "a/", "~root/x", "C:\\x", "a\\b", "a:b", "con", "NUL.gguf", "COM1.txt",
    "a\0b", "a\nb", "a\x1b[2J", "a\x85b", "a\u202eb", "\ud800", "x" * 201, " a", "a ", "a.", "/".join("x" * 99 for _ in range(11)),
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_become_no_path(name: str) -> None:
    with pytest.raises(SourceError, match="not a safe file name") as caught:
        safe_path(name, "somewhere")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["a.gguf", "sub/Model-Q4_K_M.gguf", "modèle 7B.gguf", "模型.gguf", "conx", "a..b"])
def test_plain_names_stay(name: str) -> None:
    assert safe_path(name, "somewhere") == PurePosixPath(name)


@given(st.text(max_size=30))
def test_a_safe_path_stays_inside(name: str) -> None:
    try:
        path = safe_path(name, "somewhere")
    except SourceError:
        return
    root = Path("/root/folder")
    assert (root / path).resolve().is_relative_to(root)


@given(st.text(max_size=80))
def test_slugs_are_plain(text: str) -> None:
    assert is_plain(slug(text))


def test_shown_is_short_and_printable() -> None:
    assert shown("a\x1bb\u202e") == r"'a\x1bb\u202e'"
    assert len(shown("x" * 1000)) == 80
