"""What it costs to add an architecture, held to figures."""

import re
import statistics
from pathlib import Path

import pytest
from oracle_case import NAMES, load

import edgerun
from edgerun.models import families

PACKAGE = Path(edgerun.__path__[0])


def test_a_median_family_file_has_at_most_60_lines() -> None:
    lengths = [len((PACKAGE / "models" / f"{name}.py").read_text().splitlines()) for name in families()]
    assert statistics.median(lengths) <= 60
    assert max(lengths) <= 250


def test_every_family_has_golden_logits() -> None:
    assert {load(name).metadata["general.architecture"].replace("-", "_") for name in NAMES} == set(families())


def test_nothing_branches_on_an_architecture_name() -> None:
    branch = re.compile(r"""\barch(itecture)?\b['"\]]*\s*(==|!=|\bin\b\s*[\[({])""")
    assert not [path for path in PACKAGE.rglob("*.py") if branch.search(path.read_text())]


@pytest.mark.parametrize("name", sorted(families()))
def test_a_family_cites_its_source(name: str) -> None:
    text = (PACKAGE / "models" / f"{name}.py").read_text()
    assert re.search(r"arXiv:\d{4}\.\d{5}|huggingface\.co/", text.split('"""')[1])
