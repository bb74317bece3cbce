"""What the documents say of the code: paths and links lead somewhere, line counts are about right, examples give what they show."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from edgerun.formats import all_formats
from edgerun.models import families

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("tests/golden/**/*.md")])
README = (ROOT / "README.md").read_text(encoding="utf-8")
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@each_page
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8"))
    assert not [link for link in links if "://" not in link and not (page.parent / link).exists()]


@each_page
def test_paths_are_there(page: Path) -> None:
    """Whatever is written as code and begins with a folder of the repository; NAME stands for something to be added."""
    paths = re.findall(r"`((?:edgerun|quant|tests|docs|benchmarks)/[\w./-]+)", page.read_text(encoding="utf-8"))
    assert not [path for path in paths if "NAME" not in path and not (ROOT / path).exists()]


def test_line_counts_are_about_right() -> None:
    rows = re.findall(r"\| `(edgerun/[\w/]+\.py)` \| (\d+) \|", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(rows) > 20
    lines = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path, _ in rows}
    assert not {path: lines[path] for path, stated in rows if abs(lines[path] - int(stated)) > max(10, lines[path] // 6)}


def test_the_road_of_a_token_is_about_1200_lines() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    road = re.findall(r"\| `(edgerun/[\w/]+\.py)` \|", page[page.index("**once per token**") :])
    assert road[0].endswith("session.py")
    assert road[-1].endswith("dot.py")
    assert sum(len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in road) < 1400


def test_the_readme_names_every_format() -> None:
    row = re.search(r"\| Block formats \| (.*) \|", README)
    assert row
    assert set(row[1].split(", ")) == {f.name for f in all_formats().values()}


def test_the_readme_names_every_architecture() -> None:
    row = re.search(r"\| Architectures \| (.*) \|", README)
    assert row
    told = re.sub("[^a-z0-9,]", "", row[1].lower())
    assert not [name for name in families() if name.replace("_", "") not in told and name.rstrip("0123456789") not in told]


@pytest.mark.model
def test_examples_of_the_readme(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerun.hub.resolve", lambda ref, **options: smollm2)
    example = doctest.DocTestParser().get_doctest(README.replace("```", ""), {}, "README.md", "README.md", 0)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=report.append)
    assert result.attempted > 5
    assert result.failed == 0, "".join(report)
