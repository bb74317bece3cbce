from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgerun
from edgerun.cli.commands import COMMANDS

Cli = Callable[..., Any]
HEAVY = ("numpy", "numba", "llvmlite", "rich", "pydantic", "jinja2", "prompt_toolkit", "huggingface_hub", "ssl", "asyncio", "http.client")


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands(cli: Cli, arguments: tuple[str, ...]) -> None:
    result = cli(*arguments)
    assert (result.code, result.err) == (0, "")
    commands = "".join(f"  {name:<{max(map(len, COMMANDS))}}  {summary}\n" for name, summary in COMMANDS.items())
    assert result.out.startswith("Usage: edgerun [OPTIONS] COMMAND [ARGS]...\n\n  Large language models on the machine in front of you.\n\nOptions:\n")
    assert result.out.endswith(f"\nCommands:\n{commands}\n  edgerun COMMAND --help tells more.\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_summaries_are_those_of_the_commands(name: str) -> None:
    function = importlib.import_module(f"edgerun.cli.{name}").command
    assert (inspect.getdoc(function) or "").splitlines()[0] == COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command(cli: Cli, name: str) -> None:
    short, long = cli(name, "--help"), cli(name, "-h")
    assert short == long
    assert short.code == 0
    assert short.out.startswith(f"Usage: edgerun {name} [OPTIONS]")


def test_defaults_in_the_help_are_true(cli: Cli) -> None:
    from edgerun.engine.fit import DEFAULT_CONTEXT
    from edgerun.engine.sampling import Sampling
    from edgerun.hub.catalogue import Catalogue

    page, own = " ".join(cli("run", "--help").out.split()), Sampling()
    assert f"else with --temp {own.temperature} --top-k {own.top_k} --top-p {own.top_p} --min-p {own.min_p} and no penalties." in page
    assert (own.repeat_penalty, own.presence_penalty, own.frequency_penalty) == (1, 0, 0)
    assert f"or a URL; default: {Catalogue.load().default}." in page
    assert f"what it was trained for, at most {DEFAULT_CONTEXT}." in page


def test_version(cli: Cli) -> None:
    result = cli("--version")
    assert (result.code, result.out, result.err) == (0, f"edgerun {edgerun.__version__}\n", "")


@pytest.mark.parametrize(("arguments", "message"), [
    (("rnu",), "edgerun: No such command 'rnu'. Did you mean 'run'? (see edgerun --help)\n"),
    (("--rnu",), "edgerun: No such option: --rnu (see edgerun --help)\n"),
    (("pull",), "edgerun: Missing argument 'REF' (see edgerun pull --help)\n"),
])  # fmt: skip
def test_wrong_usage_is_one_line(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    result = cli(*arguments)
    assert (result.code, result.out, result.err) == (2, "", message)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_is_light(arguments: list[str]) -> None:
    """None of the heavy modules, and few of the others: about 170. What is imported is what help costs, on any machine."""
    code = (
        "import sys; from edgerun.cli.main import main\n"
        f"try: main({arguments!r})\nfinally: print([m for m in {HEAVY!r} if m in sys.modules], len(sys.modules) < 220, file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(edgerun.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "[] True\n")


def test_options_are_parsed_without_pydantic() -> None:
    code = "import sys; from edgerun.cli.main import main\ntry: main(sys.argv[1:])\nfinally: print('pydantic' in sys.modules, file=sys.stderr)"
    environment = os.environ | {"PYTHONPATH": str(Path(edgerun.__file__).parents[1]), "EDGERUN_STATS": "yes", "EDGERUN_OUTPUT": "json"}
    arguments = ["run", "-n5", "--temp", "0.5", "--stop", "x", "-q", "-m", "/no/such.gguf", "Hi"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout, done.stderr.splitlines()[1:]) == (3, "", ["False"])


def test_as_a_module() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(edgerun.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-m", "edgerun", "--version"], capture_output=True, text=True, env=environment)
    assert done.stdout == f"edgerun {edgerun.__version__}\n"
