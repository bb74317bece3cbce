from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgerun.cli.conversation import Conversation, chat_file, saved_chats
from edgerun.errors import UsageError


def talk() -> Conversation:
    conversation = Conversation("Be brief.")
    for role, content in (("user", "Hi"), ("assistant", "Hello\n\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16")), ("user", "Why?"), ("assistant", "")):
        conversation.add(role, content)
    return conversation


def test_request_begins_with_the_system_text() -> None:
    assert [message["role"] for message in talk().request()] == ["system", "user", "assistant", "user", "assistant"]
    assert Conversation().request() == []


def test_undo_takes_back_a_question_with_its_answer() -> None:
    conversation = talk()
    assert conversation.undo() == "Why?"
    assert conversation.undo() == "Hi"
    assert conversation.undo() is None


def test_what_is_saved_can_be_loaded(home: Path) -> None:
    path = chat_file("monday")
    assert path == home / "chats" / "monday.json"
    talk().save(path, "smollm2:135m")
    assert Conversation.load(path) == talk()
    assert json.loads(path.read_text())["model"] == "smollm2:135m"
    assert saved_chats() == ["monday"]
    assert path.stat().st_mode & 0o077 == 0
    assert [entry.name for entry in path.parent.iterdir()] == ["monday.json"]


def test_only_a_chat_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    Conversation().save(path, "m")
    talk().save(path, "m")
    assert Conversation.load(path) == talk()
    path.write_text('{"precious": 1}')
    with pytest.raises(UsageError, match="is not a chat that edgerun saved"):
        talk().save(path, "m")
    assert path.read_text() == '{"precious": 1}'


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="could not be saved in"):
        talk().save(tmp_path / "file" / "a.json", "m")


@pytest.mark.parametrize("change", [
    {"format": "something"}, {"version": 2}, {"system": 3}, {"messages": None}, {"messages": {}}, {"messages": [3]},
    {"messages": [{"role": "assistant", "content": "Hi"}]}, {"messages": [{"role": "user", "content": 3}]}, {"messages": [{"role": "user"}]},
    {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
])  # fmt: skip
def test_what_is_no_chat(tmp_path: Path, change: dict[str, Any]) -> None:
    good = {"format": "edgerun chat", "version": 1, "model": "m", "system": None, "messages": []}
    (tmp_path / "a.json").write_text(json.dumps(good))
    assert Conversation.load(tmp_path / "a.json") == Conversation()
    (tmp_path / "a.json").write_text(json.dumps(good | change))
    with pytest.raises(UsageError, match="is not a chat that edgerun saved"):
        Conversation.load(tmp_path / "a.json")


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"[" * 100_000, b"null"])
def test_what_is_no_json(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(UsageError, match="is not a chat that edgerun saved"):
        Conversation.load(tmp_path / "a.json")


def test_a_chat_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        Conversation.load(chat_file(str(tmp_path / "no")))
