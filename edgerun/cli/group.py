"""The group of all commands as typer sees it, each command imported when it is first looked at. Knows no command by itself."""

from __future__ import annotations

import importlib
from collections import UserDict
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from edgerun import __version__
from edgerun.cli.commands import COMMANDS, PROGRAM
from edgerun.cli.converter import lighten

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Group(TyperGroup):
    """The commands of COMMANDS, listed without importing them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = LazyCommands(dict.fromkeys(COMMANDS))

    def get_params(self, ctx: Any) -> Any:
        """The options, with quick conversion."""
        parameters = super().get_params(ctx)
        lighten(parameters)
        return parameters

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands from the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


class Command(TyperCommand):
    """One command."""

    def get_params(self, ctx: Any) -> Any:
        """The options and arguments, with quick conversion."""
        parameters = super().get_params(ctx)
        lighten(parameters)
        return parameters


class LazyCommands(UserDict[str, Any]):
    """Click commands by name, made of the function `command` in edgerun/cli/NAME.py on the first look."""

    def __getitem__(self, name: str) -> Any:
        if self.data[name] is None:
            self.data[name] = _load(name)
        return self.data[name]


def build() -> Group:
    """The group, ready to parse; none of its commands is imported yet."""
    app = typer.Typer(
        cls=Group,
        help="Large language models on the machine in front of you.",
        epilog=f"{PROGRAM} COMMAND --help tells more.",
        rich_markup_mode=None,   # plain help: rich alone would take half of the time that --help may take
        context_settings=_SETTINGS,
    )
    app.callback()(_top)
    group = typer.main.get_command(app)
    assert isinstance(group, Group)
    return group


def _show_version(asked: bool) -> None:
    if asked:
        print(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _top(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)] = False) -> None:
    pass


def _load(name: str) -> Any:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name, cls=Command, context_settings=_SETTINGS)(importlib.import_module(f"edgerun.cli.{name}").command)
    return typer.main.get_command(app)
