"""Chat templates: messages in, the text of a prompt out, and which stretches of it are the template's own.

The template comes with the model file and is run by Jinja in a sandbox with bounds (`template_sandbox`). Every str in the
messages and tools is `Quoted` before it goes in, so that what users, files and earlier answers say stays text: the
tokenizer reads special tokens in trusted pieces only. Knows no token ids. jinja2 is imported at the first rendering.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from edgerun.dataclass import dataclass
from edgerun.errors import EdgerunError, TemplateError, UsageError
from edgerun.text.quoted import pieces, quote_all
from edgerun.text.template_fallbacks import FALLBACKS, fallback_name

if TYPE_CHECKING:
    import jinja2

    from edgerun.text.template_sandbox import Sandbox

MAX_SOURCE = 256 << 10   # characters of a template's source; the longest known has 17,000
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function", "ipython", "model", "context", "documents"})

Result = TypeVar("Result")

_REMEDY = "use --raw to do without it"


@dataclass(frozen=True)
class Rendered:
    """A prompt. `pieces` are (stretch of text, trusted); in those not trusted, what looks like a special token is text.

    `starts_with_bos`: the template itself begins the text with the model's BOS, so the tokenizer must not add another.
    """

    text: str
    pieces: list[tuple[str, bool]]
    starts_with_bos: bool = False


class ChatTemplate:
    """A chat template; compiled at the first rendering. May be used by several threads, one after the other."""

    def __init__(self, source: str, bos_token: str = "", eos_token: str = "") -> None:
        if len(source) > MAX_SOURCE:
            raise TemplateError(f"the chat template has {len(source)} characters, more than {MAX_SOURCE}; {_REMEDY}")
        self.source = source
        self.bos_token = bos_token
        self.eos_token = eos_token
        self._lock = threading.Lock()
        self._compiled: tuple[Sandbox, jinja2.Template] | None = None

    @classmethod
    def named(cls, name: str, bos_token: str = "", eos_token: str = "") -> ChatTemplate:
        """One of the built-in templates; UsageError for a name that is not there."""
        if name not in FALLBACKS:
            raise UsageError(f"there is no chat template {_line(ascii(name), 80)}; there are {', '.join(sorted(FALLBACKS))}")
        return cls(FALLBACKS[name], bos_token, eos_token)

    def render(
        self,
        messages: Iterable[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        documents: Sequence[Mapping[str, Any]] | None = None,
        think: bool | None = None,
        **kwargs: Any,
    ) -> Rendered:
        """The prompt for `messages` ({"role", "content", ...} as in the OpenAI API); kwargs are variables for the template.

        think: have the model reason before it answers, or not, where the template can; None leaves it to the template.
        TemplateError when the template fails, refuses the messages or exceeds its bounds; UsageError for messages that are none.
        """
        try:
            kwargs = _switches(think) | kwargs
            variables = {name: value if callable(value) else quote_all(value) for name, value in kwargs.items()}
            variables |= {"messages": [_message(message) for message in messages]}
            given = {"tools": quote_all(tools), "documents": quote_all(documents)}
        except (TypeError, RecursionError) as error:
            what = "messages, tools and template variables are made of dicts, lists, str and numbers"
            raise UsageError(f"{what}: {_line(str(error), 80)}") from None
        variables |= {"add_generation_prompt": add_generation_prompt, "bos_token": self.bos_token, "eos_token": self.eos_token}
        with self._lock:
            stretches = pieces(self._render(variables, given))
        trusted_start = stretches[0][0] if stretches and stretches[0][1] else ""
        begins = bool(self.bos_token) and trusted_start.startswith(self.bos_token)
        return Rendered("".join(text for text, _ in stretches), stretches, begins)

    def _render(self, variables: dict[str, Any], given: dict[str, Any]) -> str:
        sandbox, template = self._compile()
        try:
            return _translated(template, lambda: sandbox.render(template, variables | given))
        except _Failure:
            # many templates loop over tools or documents without asking whether there are any
            given = {name: value for name, value in given.items() if value is not None}
            return _translated(template, lambda: sandbox.render(template, variables | given))

    def _compile(self) -> tuple[Sandbox, jinja2.Template]:
        if self._compiled is None:
            from edgerun.text.template_sandbox import Sandbox

            sandbox = Sandbox()
            self._compiled = sandbox, _translated(None, lambda: sandbox.compiled(self.source))
        return self._compiled


class _Failure(TemplateError):
    """The template stumbled, rather than refused or ran out of its budget."""


def _translated(template: jinja2.Template | None, work: Callable[[], Result]) -> Result:
    """Do the work, with whatever is raised turned into a TemplateError."""
    import jinja2

    from edgerun.text.template_sandbox import Refused

    try:
        return work()
    except EdgerunError:
        raise
    except Refused as error:
        raise TemplateError(f"the chat template refuses these messages: {_line(str(error), 400)}") from None
    except RecursionError:
        raise TemplateError(f"the chat template nests or recurses too deeply; {_REMEDY}") from None
    except MemoryError:
        raise TemplateError(f"the chat template needs too much memory; {_REMEDY}") from None
    except jinja2.TemplateSyntaxError as error:
        problem = _line(error.message or "", 160)
        raise TemplateError(f"the chat template cannot be read, line {error.lineno}: {problem}; {_REMEDY}") from None
    except Exception as error:
        line = _line_number(template, error)
        raise _Failure(f"the chat template fails{line}: {type(error).__name__}: {_line(str(error), 160)}; {_REMEDY}") from error


def _line_number(template: jinja2.Template | None, error: Exception) -> str:
    if template is None:
        return ""
    found, trace = "", error.__traceback__
    while trace is not None:
        ours = trace.tb_frame.f_globals.get("__jinja_template__") is template
        found = f" in line {template.get_corresponding_lineno(trace.tb_lineno)}" if ours else found
        trace = trace.tb_next
    return found


def _line(text: str, limit: int) -> str:
    """`text` as part of a message: one line, nothing a terminal would act on, no longer than `limit`."""
    text = "".join(char if char.isprintable() else " " for char in text[: 4 * limit])
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _switches(think: bool | None) -> dict[str, Any]:
    """The variables that the known templates read to have the model reason or not."""
    if think is None:
        return {}
    return {"enable_thinking": think, "thinking": think} | ({} if think else {"thinking_budget": 0})


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(message, Mapping):
        raise TypeError(f"a {type(message).__name__} is not a message")
    out = quote_all(message)
    if out.get("role") in ROLES:
        out["role"] = str.__str__(out["role"])   # templates build special tokens from it, as in "<|" + role + "|>"
    if "reasoning_content" in out:
        out.setdefault("thinking", out["reasoning_content"])   # the name that gpt-oss reads
    return out


class Vocabulary(Protocol):
    """What a template must know of a tokenizer."""

    bos: int | None
    eos: int | None

    def token_text(self, id: int) -> str:
        """The text of a token."""
        ...

    def encode(self, text: str, add_special: bool = True, parse_special: bool = False) -> list[int]:
        """Token ids."""
        ...


def template_for(metadata: Mapping[str, Any], tokenizer: Vocabulary, choice: str | None = None) -> tuple[ChatTemplate, str | None]:
    """The chat template of a model file, and a warning where it is a guess.

    choice: another than the file's default: the path of a file with its source, the name of a further one of the model file, or of a
    built-in one; UsageError if there is none of these.
    """
    bos, eos = (tokenizer.token_text(id) if id is not None else "" for id in (tokenizer.bos, tokenizer.eos))
    key = "tokenizer.chat_template" + (f".{choice}" if choice else "")
    source = metadata.get(key)
    if isinstance(source, str) and source.strip():
        return ChatTemplate(source, bos, eos), None
    if choice:
        is_file = Path(choice).is_file() or choice.endswith(".jinja") or Path(choice).name != choice
        return (ChatTemplate(_read(choice), bos, eos) if is_file else ChatTemplate.named(choice, bos, eos)), None

    def has(text: str) -> bool:
        return len(tokenizer.encode(text, add_special=False, parse_special=True)) == 1

    guess = fallback_name(has)
    why = "by the look of its vocabulary" if guess else "though its vocabulary fits none: it may not be made for chats"
    warning = f"the model file has no chat template; using {guess or 'chatml'}, {why} (--raw uses none)"
    return ChatTemplate.named(guess or "chatml", bos, eos), warning


def _read(path: str) -> str:
    """The source of a template from a file. UsageError when it cannot be read, TemplateError when it is too long."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_SOURCE + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"the chat template {_line(ascii(path), 200)} cannot be read: {why}") from None


def template_names(metadata: Mapping[str, Any]) -> list[str]:
    """The names of the further templates of a model file, such as tool_use."""
    prefix = "tokenizer.chat_template."
    return sorted(key[len(prefix) :] for key in metadata if key.startswith(prefix))


def render_template(
    source: str, messages: Iterable[Mapping[str, Any]], tools: Any = None, bos_token: str = "", eos_token: str = "", **kwargs: Any
) -> str:
    """The text that a chat template makes of `messages`; kwargs as of `ChatTemplate.render`, errors too."""
    return ChatTemplate(source, bos_token, eos_token).render(messages, tools, **kwargs).text
