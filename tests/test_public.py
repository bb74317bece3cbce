"""The public surface: what is exported, and what importing it costs."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgerun

PUBLIC = {
    "LLM", "DeviceError", "EdgerunError", "GGUFError", "Label", "MemoryPlan", "ModelError", "OutputError", "Piece", "Reply", "ResourceError", "Sampling",
    "SourceError", "Stats", "Stream", "TemplateError", "TokenizerError", "ToolCall", "Unsupported", "UsageError", "__version__", "load", "load_template", "load_tokenizer",
    "memory_plan", "render_template",
}  # fmt: skip


def test_nothing_is_exported_by_accident() -> None:
    assert set(edgerun.__all__) == PUBLIC
    assert dir(edgerun) == sorted(edgerun.__all__)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_name_can_be_imported(name: str) -> None:
    assert getattr(edgerun, name) is not None
    assert inspect.getdoc(getattr(edgerun, name))


def test_static_and_lazy_imports_agree() -> None:
    """What a type checker sees under TYPE_CHECKING is what __getattr__ fetches."""
    tree = ast.parse(Path(edgerun.__file__).read_text(encoding="utf-8"))
    typed = {alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names if node.level == 0}
    typed = {name: module for name, module in typed.items() if module and module.startswith("edgerun")}
    assert typed == edgerun._PLACE_OF


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        edgerun.lod   # type: ignore[attr-defined]


def test_the_version_is_plain() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", edgerun.__version__)


@pytest.mark.parametrize(("statement", "heavy"), [
    ("import edgerun", ("numpy", "numba", "llvmlite", "rich", "jinja2", "typer", "edgerun.errors")),
    ("import edgerun; edgerun.load", ("numba", "llvmlite", "rich", "jinja2", "typer", "huggingface_hub", "gguf", "regex", "ssl", "asyncio")),
])
def test_imports_stay_light(statement: str, heavy: tuple[str, ...]) -> None:
    check = f"{statement}; import sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True).stdout == "[]\n"
