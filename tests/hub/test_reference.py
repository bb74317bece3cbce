from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerun.errors import UsageError
from edgerun.hub.reference import HubReference, NameReference, PathReference, UrlReference, parse


@pytest.mark.parametrize(("ref", "meaning"), [
    ("smollm2:135m", NameReference("smollm2:135m")),
    ("SmolLM2", NameReference("smollm2")),
    ("qwen2.5-coder:0.5b", NameReference("qwen2.5-coder:0.5b")),
    ("hf:user/repo", HubReference("user/repo")),
    ("HF://user/repo", HubReference("user/repo")),
    ("hf:user/repo:Q4_K_M", HubReference("user/repo", "Q4_K_M")),
    ("hf:user/repo:UD-Q4_K_XL", HubReference("user/repo", "UD-Q4_K_XL")),
    ("hf:user/repo:sub/file.gguf", HubReference("user/repo", "sub/file.gguf")),
    ("hf:user/repo/sub/file.gguf", HubReference("user/repo", "sub/file.gguf")),
    ("hf.co/user/repo:Q8_0", HubReference("user/repo", "Q8_0")),
    ("https://huggingface.co/user/repo", HubReference("user/repo")),
    ("https://huggingface.co/user/repo/tree/main", HubReference("user/repo")),
    ("https://huggingface.co/user/repo/blob/main/a/b.gguf?download=true", HubReference("user/repo", "a/b.gguf")),
    ("https://huggingface.co/user/repo/resolve/main/b.gguf", HubReference("user/repo", "b.gguf")),
    ("https://example.org/a.gguf?x=1#part", UrlReference("https://example.org/a.gguf?x=1")),
    ("model.gguf", PathReference(Path("model.gguf"))),
    ("./smollm2", PathReference(Path("smollm2"))),
    ("folder/model", PathReference(Path("folder/model"))),
    ("/tmp/x", PathReference(Path("/tmp/x"))),
    ("..", PathReference(Path(".."))),
])  # fmt: skip
def test_forms(ref: str, meaning: object) -> None:
    assert parse(ref) == meaning


def test_home_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse("~/a.gguf") == PathReference(Path("/home/somebody/a.gguf"))


@pytest.mark.parametrize(("ref", "message"), [
    ("", "no model named"),
    ("  ", "no model named"),
    ("a\0b", "zero character"),
    ("hf:", "hub repository"),
    ("hf:user", "hub repository"),
    ("hf:user/..", "hub repository"),
    ("hf:../repo", "hub repository"),
    ("hf:user/re--po", "hub repository"),
    ("hf:user/repo:../../x.gguf", r"\.gguf file"),
    ("hf:user/repo:/x.gguf", r"\.gguf file"),
    ("hf:user/repo:a\x1b[31m.gguf", r"\.gguf file"),
    ("hf:user/repo:con.gguf", r"\.gguf file"),
    ("hf:user/repo:Q4 K", "neither a quantization"),
    ("hf:user/repo/README.md", "neither a quantization"),
    ("ftp://example.org/a.gguf", "only http"),
    ("file:///etc/passwd", "only http"),
    ("https://", "not a valid address"),
    ("http://[::1/a.gguf", "not a valid address"),
    ("https://example.org:port/a.gguf", "not a valid address"),
    ("https://example.org/a b.gguf", "not a valid address"),
    ("https://user:secret@example.org/a.gguf", "password"),
    ("two words", "not the name of a model"),
    ("smollm2:", "not the name of a model"),
])  # fmt: skip
def test_what_names_nothing(ref: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        parse(ref)
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


@given(st.text(max_size=40) | st.text("hf:/.~\\@?#:aA-", max_size=30))
def test_any_text_is_understood_or_refused(ref: str) -> None:
    with suppress(UsageError):
        parse(ref)
