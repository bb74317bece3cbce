"""`edgerun template`: a model's chat template, and the prompt it makes of messages. Knows how both are typed and shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgerun.cli import options as o
from edgerun.cli.clean import clean
from edgerun.cli.complete import models
from edgerun.cli.exit import warn
from edgerun.cli.loading import default_model
from edgerun.cli.prompt import STDIN, read_file
from edgerun.cli.terminal import is_terminal, stdout, styled
from edgerun.errors import UsageError

if TYPE_CHECKING:
    from edgerun.text.template import Rendered

_QUOTED, _PLAIN = "\x1b[36m", "\x1b[39m"   # what messages say, beside what the template says itself

EXAMPLE = [
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Hi there"},
    {"role": "user", "content": "How are you?"},
]

Action = Annotated[Literal["show", "render"], typer.Argument(metavar="show|render", help="show: its source; render: the prompt it makes.")]
Ref = Annotated[str | None, typer.Argument(autocompletion=models, help="The model: a catalogue name, a path, hf:user/repo[:quant] or a URL; default: smollm2:135m.")]
Prompt = Annotated[str | None, typer.Option("-p", "--prompt", metavar="TEXT", help="What the user says; -: standard input. Default: a short example.")]
Messages = Annotated[str | None, typer.Option("--messages", metavar="FILE", help="JSON list of messages, as {\"role\": \"user\", \"content\": \"Hi\"}; -: standard input.")]
Tools = Annotated[str | None, typer.Option("--tools", metavar="FILE", help="JSON list of tools for the template.")]
Complete = Annotated[bool, typer.Option("--no-generation-prompt", help="Do not begin the answer.")]
Output = Annotated[Literal["text", "json"], typer.Option("-o", "--output", show_default=False, help="text, or json: one object.")]


def command(
    action: Action, ref: Ref = None, prompt: Prompt = None,
    chat_template: o.ChatTemplate = None, chat_template_kwargs: o.ChatTemplateKwargs = None, think: o.Think = None,
    system: o.System = None, messages: Messages = None, tools: Tools = None, no_generation_prompt: Complete = False, output: Output = "text",
) -> None:  # fmt: skip
    """Show a model's chat template, or what it makes of messages.

    The model is only opened, not loaded. On a terminal, what messages say is shown in another colour than the template's own text:
    special tokens are read in the latter only.
    """
    import edgerun

    template, warning = edgerun.load_template(ref or default_model(), chat_template)
    if warning:
        warn(f"warning: {warning}")
    if action == "show":
        _write({"source": template.source}, output, _shown(template.source))
        return
    rendering = o.rendering(chat_template_kwargs, think)
    chat = _json_list(messages, "--messages") if messages else _said(prompt) if prompt else EXAMPLE
    chat = [{"role": "system", "content": system}] * bool(system) + chat
    result = template.render(chat, _json_list(tools, "--tools") if tools else None, not no_generation_prompt, think=rendering.get("think"), **rendering.get("template_kwargs", {}))
    pieces = [{"text": text, "trusted": trusted} for text, trusted in result.pieces]
    _write({"prompt": result.text, "pieces": pieces}, output, _coloured(result))


def _said(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": read_file(prompt, "") if prompt == STDIN else prompt}]


def _json_list(file: str, option: str) -> list[Any]:
    """The JSON list in a file, or on standard input for -. UsageError when there is none."""
    try:
        value = json.loads(read_file(file, "file"))
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, list):
        raise UsageError(f"{option} {file[:80]!a} holds no JSON list")
    return value


def _shown(text: str) -> str:
    return clean(text) if is_terminal(stdout()) else text


def _coloured(result: Rendered) -> str:
    if not styled(stdout()):
        return _shown(result.text)
    return "".join(clean(text) if trusted else f"{_QUOTED}{clean(text)}{_PLAIN}" for text, trusted in result.pieces)


def _write(facts: dict[str, Any], output: str, text: str) -> None:
    stdout().write(json.dumps(facts, ensure_ascii=is_terminal(stdout())) + "\n" if output == "json" else text + "\n" * (not text.endswith("\n")))
