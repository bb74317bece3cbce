from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgerun
from edgerun.cli.commands import COMMANDS

ROOT = Path(edgerun.__file__).parents[1]
DOCS = Path(__file__).parents[2] / "docs"


def test_every_command_is_documented() -> None:
    assert re.findall(r"<!-- help: edgerun ?([a-z]*) -->", (DOCS / "cli.md").read_text()) == ["", *COMMANDS]


def test_the_help_pages_are_those_of_the_commands() -> None:
    if not importlib.metadata.version("typer").startswith("0.29."):
        pytest.skip("another typer may lay out its pages in another way")
    done = subprocess.run([sys.executable, str(DOCS / "make_cli.py"), "--check"], env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, "run: python docs/make_cli.py"
