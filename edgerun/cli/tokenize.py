"""`edgerun tokenize`: what a model sees of a text. Knows how the command is typed and shown; the ids come from `edgerun.api`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from edgerun.cli import options as o
from edgerun.cli.clean import clean
from edgerun.cli.exit import warn
from edgerun.cli.loading import default_model
from edgerun.cli.prompt import STDIN, read_file
from edgerun.cli.terminal import is_terminal, stdout, styled

if TYPE_CHECKING:
    from edgerun.text.tokenizer import Tokenizer

_COLOURS = ("\x1b[30;46m", "\x1b[30;43m", "\x1b[30;42m", "\x1b[30;45m")   # one after the other: they show where spaces belong
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"

Words = Annotated[list[str], typer.Argument(metavar="TEXT", help="The text; several words are joined by spaces. - stands for standard input.")]
Ids = Annotated[bool, typer.Option("--ids", help="Only the ids, as a list.")]
Count = Annotated[bool, typer.Option("--count", help="Only how many there are.")]
Bare = Annotated[bool, typer.Option("--no-bos", help="Add nothing before or after the text (BOS and EOS, or CLS and SEP).")]
Special = Annotated[bool, typer.Option("--special", help="Find special tokens in the text; by default <|im_end|> is text like any other.")]
Output = Annotated[Literal["text", "json"], typer.Option("-o", "--output", show_default=False, help="text, or json: one object.")]


def command(
    words: Words, model: o.Model = None, ids: Ids = False, count: Count = False, no_bos: Bare = False, special: Special = False,
    tokenizer: o.Tokenizer = "default", output: Output = "text", quiet: o.Quiet = False,
) -> None:  # fmt: skip
    """Show the tokens of a text.

    A line for each, with its id. A file that holds nothing but a vocabulary will do. One newline at the end of standard input
    is left out.
    """
    import edgerun

    text = read_file(STDIN, "") if words == [STDIN] else " ".join(words)
    chosen = edgerun.load_tokenizer(model or default_model(), tokenizer)
    if chosen.warning and not quiet:
        warn(f"warning: {chosen.warning}")
    tokens = chosen.encode(text, add_special=not no_bos, parse_special=special)
    out = stdout()
    if output == "json":
        out.write(json.dumps(_facts(chosen, tokens), ensure_ascii=is_terminal(out)) + "\n")
    elif count:
        out.write(f"{len(tokens)}\n")
    elif ids:
        out.write(f"{tokens}\n")
    else:
        out.writelines(_lines(chosen, tokens, styled(out)))


def _facts(tokenizer: Tokenizer, ids: list[int]) -> dict[str, Any]:
    """All of it, ready for JSON; the bytes of a token in hexadecimal, for not every token is whole characters."""
    pieces = [tokenizer.piece(token, special=True) for token in ids]
    tokens = [{"id": token, "text": piece.decode("utf-8", "replace"), "bytes": piece.hex()} for token, piece in zip(ids, pieces, strict=True)]
    return {"count": len(ids), "ids": ids, "tokens": tokens}


def _lines(tokenizer: Tokenizer, ids: list[int], coloured: bool) -> list[str]:
    width = len(str(max(ids, default=0)))
    lines = []
    for number, token in enumerate(ids):
        piece = clean(tokenizer.piece(token, special=True).decode("utf-8", "backslashreplace"), keep_newlines=False)
        colour = _COLOURS[number % len(_COLOURS)]
        lines.append(f"{_DIM}{token:>{width}}{_PLAIN}  {colour}{piece}{_PLAIN}\n" if coloured else f"{token:>{width}}  '{piece}'\n")
    return lines
