from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_llm import FakeLLM

from edgerun.cli.chat import Chat
from edgerun.errors import DeviceError, UsageError
from edgerun.stream import Piece

Cli = Callable[..., Any]
ANSWER = "The sky is blue."


class Script:
    """An editor that gives `lines`, and raises what is an exception; interactive unless it says otherwise."""

    def __init__(self, *lines: str | BaseException, interactive: bool = True) -> None:
        self.lines = list(lines)
        self.interactive = interactive

    def read(self) -> str | None:
        line = self.lines.pop(0) if self.lines else None
        if isinstance(line, BaseException):
            raise line
        return line


@pytest.fixture
def talk(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str]]:
    """(stdout, stderr) of a chat in which these lines are typed."""

    def run(llm: FakeLLM, *lines: str | BaseException, **options: Any) -> tuple[str, str]:
        chat = Chat(llm, "tiny", options, quiet=True)   # type: ignore[arg-type]
        chat.talk(Script(*lines))
        return capfd.readouterr()

    return run


def said(llm: FakeLLM, call: int = -1) -> list[str]:
    """What the model was given: contents in turn."""
    return [message["content"] for message in llm.calls[call]["messages"]]


def test_piped_lines_are_messages(cli: Cli, llm: FakeLLM) -> None:
    llm.answers = [[Piece("Hello.")], [Piece("Blue.\n")]]
    result = cli("chat", "-sys", "Brief.", "-n", "9", "--seed", "1", "-c", "99", "--lora", "a.gguf:2", stdin=b"Hi\n\n  \nWhy \\\nblue?\n")
    assert (result.code, result.out, result.err) == (0, "Hello.\nBlue.\n", "")
    assert llm.calls[1] == {
        "messages": [{"role": r, "content": c} for r, c in (("system", "Brief."), ("user", "Hi"), ("assistant", "Hello."), ("user", "Why \nblue?"))],
        "max_tokens": 9, "stop": [], "seed": 1,
    }  # fmt: skip
    assert (llm.loaded["context"], llm.loaded["lora"]) == (99, [(Path("a.gguf"), 2.0)])


def test_piped_errors_end_it(cli: Cli, llm: FakeLLM) -> None:
    llm.answers = [[UsageError("the prompt has 3000 tokens")]]
    result = cli("chat", stdin=b"Hi\nHo\n")
    assert (result.code, result.out, result.err) == (2, "", "edgerun: the prompt has 3000 tokens\n")
    assert len(llm.calls) == 1


def test_greeting(capfd: pytest.CaptureFixture[str], llm: FakeLLM) -> None:
    Chat(llm, "tiny", {}).talk(Script("/exit", "never read"))   # type: ignore[arg-type]
    assert capfd.readouterr().err == "tiny, 2048 tokens of context. /help lists the commands, Ctrl-D leaves.\n"


def test_errors_do_not_end_a_chat(talk: Any) -> None:
    llm = FakeLLM([UsageError("too long")], ["Fine."])
    assert talk(llm, "a novel", "short") == ("Fine.\n", "edgerun: too long\n")
    assert said(llm) == ["short"]


def test_a_lost_device_keeps_the_conversation(talk: Any, tmp_path: Path) -> None:
    lost = DeviceError("the GPU X was lost: reset; start again, or with --device cpu")
    llm = FakeLLM(["Fine."], ["Once ", lost], [lost])
    keep = "(what was said is kept: /save FILE, start edgerun chat again, /load FILE)\n"
    out, err = talk(llm, "How are you?", "Tell", "Tell", f"/save {tmp_path / 'kept.json'}")
    assert out.startswith("Fine.\nOnce ")
    assert err.startswith(f"edgerun: {lost}\n{keep}edgerun: {lost}\n{keep}")
    kept = json.loads((tmp_path / "kept.json").read_text())
    assert "Fine." in json.dumps(kept)


def test_a_lost_device_ends_a_piped_chat(cli: Cli, llm: FakeLLM) -> None:
    llm.answers = [[Piece("Fine.")], [DeviceError("the GPU X was lost")]]
    result = cli("chat", stdin=b"Hi\nTell\n")
    assert (result.code, result.out, result.err) == (7, "Fine.\n", "edgerun: the GPU X was lost\n")


def test_ctrl_c_keeps_what_was_said(talk: Any) -> None:
    llm = FakeLLM(["Once upon", KeyboardInterrupt()], ["Yes."])
    assert talk(llm, "Tell", "Go on")[0] == "Once upon\nYes.\n"
    assert said(llm) == ["Tell", "Once upon", "Go on"]


def test_ctrl_c_before_anything_was_said(talk: Any) -> None:
    llm = FakeLLM([KeyboardInterrupt()], [Piece("Hm", "reasoning"), KeyboardInterrupt()], ["Yes."])
    assert talk(llm, "one", "two", KeyboardInterrupt(), "three") == ("Yes.\n", "(Ctrl-D or /exit leaves)\n" * 3)
    assert said(llm) == ["three"]


def test_ctrl_c_ends_a_piped_chat(cli: Cli, llm: FakeLLM) -> None:
    llm.answers = [[Piece("Once"), KeyboardInterrupt()]]
    assert cli("chat", stdin=b"Tell\nGo on\n").code == 130


def test_undo_clear_and_system(talk: Any) -> None:
    llm = FakeLLM()
    out, err = talk(llm, "one", "two", "/undo", "/system Be kind.", "three", "/clear", "/undo", "four", "/system")
    assert said(llm, 2) == ["Be kind.", "one", ANSWER, "three"]
    assert said(llm, 3) == ["Be kind.", "four"]
    assert out == (ANSWER + "\n") * 4
    assert err == (
        "taken back: two\nthe model is told: Be kind.\na new conversation begins\nthere is nothing to take back\nthe model is told: Be kind.\n"
    )


def test_regen_answers_again_with_another_seed(talk: Any) -> None:
    llm = FakeLLM(["A."], ["B."], ["C."], ["D."])
    assert talk(llm, "/regen", "one", "/regen", "/regen", "two", seed=5) == ("A.\nB.\nC.\nD.\n", "there is nothing to answer again\n")
    assert [call["seed"] for call in llm.calls] == [5, 6, 7, 5]
    assert said(llm, 2) == ["one"]
    assert said(llm, 3) == ["one", "C.", "two"]


def test_regen_that_says_nothing_changes_nothing(talk: Any) -> None:
    llm = FakeLLM(["A."], [KeyboardInterrupt()], ["C."])
    talk(llm, "one", "/regen", "two")
    assert said(llm) == ["one", "A.", "two"]


def test_save_and_load(talk: Any, home: Path) -> None:
    llm = FakeLLM()
    _, err = talk(llm, "/load", "one", "/save monday", "/clear", "/load monday", "/load", "two", "/load tuesday", "/save")
    assert said(llm) == ["one", ANSWER, "two"]
    lines = err.splitlines()
    assert lines[:2] == ["no conversation was saved yet; /save NAME keeps one", f"saved in {home}/chats/monday.json"]
    assert lines[3:5] == [f"2 messages; the last: {ANSWER}", "monday"]
    assert lines[5].startswith("edgerun: the chat ")
    assert lines[5].endswith("cannot be read: No such file or directory")
    assert len(list((home / "chats").glob("*.json"))) == 2


def test_stats_and_help(talk: Any) -> None:
    _, err = talk(FakeLLM(), "/stats", "one", "/stats", "/HELP", "/frobnicate")
    lines = err.splitlines()
    assert lines[0] == "nothing was answered yet"
    assert lines[1] == "load:           0.25 s"
    assert lines[-1] == "/frobnicate is not a command; /help lists them"
    assert [line.split()[0] for line in lines if line.startswith("/")] == [
        "/help", "/system", "/clear", "/undo", "/regen", "/save", "/load", "/stats", "/exit", "//", "/frobnicate",
    ]  # fmt: skip


def test_what_only_looks_like_a_command(talk: Any) -> None:
    llm = FakeLLM(["Yes."])
    talk(llm, "/etc/passwd", "//exit is a command", "/3")
    assert said(llm) == ["/etc/passwd", "Yes.", "/exit is a command", "Yes.", "/3"]


def test_show_stats(capfd: pytest.CaptureFixture[str]) -> None:
    llm = FakeLLM()
    Chat(llm, "tiny", {}, show_stats=True, quiet=True).talk(Script("one"))   # type: ignore[arg-type]
    assert capfd.readouterr().err.startswith("load:           0.25 s\n")


def test_control_characters_of_a_saved_chat(talk: Any, tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "\x1b[2J"}]
    (tmp_path / "a.json").write_text(json.dumps({"format": "edgerun chat", "version": 1, "system": None, "messages": messages}))
    assert talk(FakeLLM(), f"/load {tmp_path}/a.json")[1] == "1 message; the last: \\x1b[2J\n"
