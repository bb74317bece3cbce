from __future__ import annotations

import pytest

from edgerun.errors import SourceError
from edgerun.hub.quants import choose, is_later_part, split_names

NAMES = ["m-F16.gguf", "m-Q4_0.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf", "mmproj-m-F16.gguf", "imatrix.gguf", "README.md"]


@pytest.mark.parametrize(("names", "want", "chosen"), [
    (NAMES, "", "m-Q4_K_M.gguf"),
    (NAMES[:2], "", "m-Q4_0.gguf"),
    (["m-F16.gguf", "m-Q8_0.gguf"], "", "m-Q8_0.gguf"),
    (NAMES, "q8_0", "m-Q8_0.gguf"),
    (NAMES, "F16", "m-F16.gguf"),
    (["m.q4_k_m.gguf", "m.q8_0.gguf"], "", "m.q4_k_m.gguf"),
    (["q4_k_m/m.gguf", "q8_0/m.gguf"], "Q8_0", "q8_0/m.gguf"),
    (["m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf"], "", "m-Q4_K_M.gguf"),
    (["m-Q4_K_M_L.gguf", "m-Q4_K.gguf"], "Q4_K", "m-Q4_K.gguf"),
    (["some-model.gguf"], "", "some-model.gguf"),
    (["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"], "", "m-Q8_0-00001-of-00002.gguf"),
])  # fmt: skip
def test_choice(names: list[str], want: str, chosen: str) -> None:
    assert choose(names, want, "user/repo") == chosen


@pytest.mark.parametrize(("names", "want", "message"), [
    (["README.md", "mmproj.gguf"], "", "holds no GGUF model"),
    (NAMES, "Q2_K", r"no file with quantization Q2_K; name one of its files: m-F16\.gguf, m-Q4_0"),
    (["a.gguf", "b.gguf"], "", "several models"),
])  # fmt: skip
def test_no_choice(names: list[str], want: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        choose(names, want, "user/repo")


def test_parts() -> None:
    assert split_names("m.gguf") == ["m.gguf"]
    assert split_names("d/m-00001-of-00003.gguf") == [f"d/m-0000{i}-of-00003.gguf" for i in (1, 2, 3)]
    assert is_later_part("m-00002-of-00003.gguf")
    assert not is_later_part("m-00001-of-00003.gguf")
    assert not is_later_part("m.gguf")


@pytest.mark.parametrize("name", ["m-00001-of-99999.gguf", "m-00003-of-00002.gguf", "m-00000-of-00002.gguf", "m-00001-of-00000.gguf"])
def test_senseless_parts(name: str) -> None:
    with pytest.raises(SourceError, match="makes no sense"):
        split_names(name)
