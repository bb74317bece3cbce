"""The Jinja environment chat templates run in: what Hugging Face's has, locked and metered. Imports jinja2: import it late.

A template reaches no attribute but those listed here, changes none of its inputs, includes no file, and pays a `Budget`
for time and memory: the generated code counts a step in each block, comparison, call, filter and test, and every value
it makes is charged. The flags of `Quoted` text survive everything a template can do.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterable, Iterator
from types import BuiltinMethodType, MethodType
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator
from jinja2.ext import Extension, LoopControlExtension
from jinja2.runtime import BlockReference, Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter, safe_range
from jinja2.utils import Cycler, Joiner, Namespace

from edgerun.text import template_text as text
from edgerun.text.quoted import has_quoted, quote
from edgerun.text.template_budget import INT_BITS, Budget, size_of
from edgerun.text.template_filters import filters_for

MAX_TOKENS = 20_000   # of Jinja, in one template; the longest known has 4,000

_ATTRIBUTES: list[tuple[Any, frozenset[str] | None]] = [   # None: all public ones
    (str, text.METHODS),
    (dict, frozenset({"get", "items", "keys", "values", "copy"})),
    ((list, tuple), frozenset({"index", "count", "copy", "grouper", "list"})),
    ((LoopContext, Macro, BlockReference, Cycler, Joiner, Namespace), None),
]


class Refused(jinja2.TemplateError):
    """The template called raise_exception."""


class _Generator(CodeGenerator):
    """Writes the calls to the budget into the code of a template."""

    environment: Sandbox

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        self.environment.budget.step()
        return super().visit(node, *args, **kwargs)

    def blockvisit(self, body: Iterable[nodes.Node], frame: Any) -> None:
        self.writeline("environment.budget.step()")
        super().blockvisit(body, frame)

    def visit_Compare(self, node: nodes.Compare, frame: Any) -> None:
        self.write("(environment.budget.step() or ")
        super().visit_Compare(node, frame)
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Any) -> None:
        self.write("environment.concatenate((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def _made(self, visit: Callable[..., None], node: nodes.Node, frame: Any) -> None:
        self.write("environment.budget.made(")
        visit(node, frame)
        self.write(")")

    def visit_Getitem(self, node: nodes.Getitem, frame: Any) -> None:
        if isinstance(node.arg, nodes.Slice):
            self._made(super().visit_Getitem, node, frame)
        else:
            super().visit_Getitem(node, frame)

    def visit_List(self, node: nodes.List, frame: Any) -> None:
        self._made(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Any) -> None:
        self._made(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Any) -> None:
        if node.ctx == "load":
            self._made(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def _no_such_thing(self, node: nodes.Node, frame: Any) -> NoReturn:
        name = type(node).__name__.lower()
        self.fail(f"{'autoescape' if name.startswith('scoped') else name} has no place in a chat template", node.lineno)

    # other files, and escaping that would lose the flags of quoted text
    visit_Extends = visit_Include = visit_Import = visit_FromImport = _no_such_thing
    visit_EvalContextModifier = visit_ScopedEvalContextModifier = _no_such_thing


class _ChatSyntax(Extension):
    """{% generation %}, which marks the assistant's words for training, and a bound on the number of tokens."""

    tags = {"generation"}   # noqa: RUF012

    def filter_stream(self, stream: Any) -> Iterator[Any]:
        for count, token in enumerate(stream):
            self.environment.budget.step()   # type: ignore[attr-defined]
            if count >= MAX_TOKENS:
                raise jinja2.TemplateSyntaxError(f"more than {MAX_TOKENS} tokens", token.lineno)
            yield token

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class Sandbox(ImmutableSandboxedEnvironment):
    """An environment for one template at a time; `budget` is that of the compilation or rendering that runs."""

    code_generator_class = _Generator
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        self.budget = Budget()
        syntax = [LoopControlExtension, _ChatSyntax]
        super().__init__(trim_blocks=True, lstrip_blocks=True, optimized=False, extensions=syntax, finalize=_finalize)
        self.filters = filters_for(self, lambda: self.budget)
        self.tests = {name: self._stepping(test) for name, test in self.tests.items()}
        self.globals = {
            "range": safe_range,
            "dict": dict,
            "namespace": Namespace,
            "cycler": Cycler,
            "joiner": Joiner,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    def compiled(self, source: str) -> jinja2.Template:
        """The template; whatever jinja2 and Python's compiler raise goes through."""
        self.budget = Budget()
        return self.from_string(source)

    def render(self, template: jinja2.Template, variables: dict[str, Any]) -> str:
        """The text, a Quoted where anything in it is quoted; whatever the template raises goes through."""
        self.budget = Budget(size_of(variables), len(variables["messages"]))
        return self.concat(template.root_render_func(template.new_context(variables)))

    # what generated code calls

    def concat(self, parts: Iterable[str]) -> str:
        """Join the output of a block."""
        return text.join(self.budget, "", parts)

    def concatenate(self, values: Iterable[Any]) -> str:
        """The operator `~`."""
        self.budget.step()
        return text.concatenate(self.budget, values)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The arithmetic operators."""
        self.budget.step()
        if operator == "%" and isinstance(left, str):
            return text.percent(self.budget, left, right)
        if operator == "*":
            self._charge_product(left, right)
            self._charge_product(right, left)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int) and left.bit_length() * right > INT_BITS:
            raise OverflowError("the power is too large")
        return self.budget.made(super().call_binop(context, operator, left, right))

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls of macros, methods and globals."""
        __self.budget.step()
        return __self.budget.made(super().call(__context, __obj, *args, **kwargs))

    # what they may reach

    def wrap_str_format(self, value: Any) -> Callable[..., Any] | None:
        """Put our operation in the place of a method of str (jinja2 has this hook for format alone)."""
        method = isinstance(value, (MethodType, BuiltinMethodType)) and isinstance(value.__self__, str)
        if not method or value.__name__ not in text.METHODS:
            return None
        if value.__name__ == "format":
            return functools.partial(self._format, value.__self__)
        return functools.partial(text.call_method, self.budget, value.__self__, value.__name__)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only what is listed."""
        if attr.startswith("_"):
            return False
        return any(isinstance(obj, kinds) and (names is None or attr in names) for kinds, names in _ATTRIBUTES)

    def _format(self, pattern: str, *args: Any, **kwargs: Any) -> str:
        return text.format_text(self.budget, SandboxedFormatter(self), pattern, args, kwargs)

    def _charge_product(self, sequence: Any, times: Any) -> None:
        if isinstance(times, int) and isinstance(sequence, (str, list, tuple)):
            self.budget.charge(max(0, times) * len(sequence) * (1 if isinstance(sequence, str) else 8))

    def _stepping(self, test: Any) -> Callable[..., Any]:
        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> Any:
            self.budget.step()
            return test(*args, **kwargs)

        return run


@jinja2.pass_context   # jinja2 then leaves constants to run time, where they are metered
def _finalize(context: Context, value: Any) -> str:
    return text.written(context.environment.budget, value)   # type: ignore[attr-defined]


def _raise_exception(message: Any) -> NoReturn:
    raise Refused(str(message))


def _strftime_now(layout: str) -> str:
    if len(layout) > 256 or any(map(str.isdigit, layout)):
        raise ValueError("strftime_now: a date layout has at most 256 characters and no width")
    now = datetime.datetime.now().strftime(layout)
    return quote(now) if has_quoted(layout) else now
