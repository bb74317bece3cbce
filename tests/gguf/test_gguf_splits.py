"""A model in several files, whole and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerun.errors import ModelError
from edgerun.gguf import GGUFWriter, open_gguf


def write_part(path: Path, number: int, count: int = 3, total: int = 4, tensors: tuple[str, ...] = (), kind: str = "u16") -> None:
    with GGUFWriter(path) as writer:
        if number == 0:
            writer.add("general.architecture", "llama")
        writer.add("split.no", number, kind)
        writer.add("split.count", count, kind)
        writer.add("split.tensors.count", total, "i32")
        for name in tensors:
            writer.add_tensor(name, name.encode() * 32, 24, (len(name) * 32,))


@pytest.fixture
def first(tmp_path: Path) -> Path:
    for number, tensors in enumerate([("a", "b"), ("c",), ("d",)]):
        write_part(tmp_path / f"m-{number + 1:05}-of-00003.gguf", number, tensors=tensors)
    return tmp_path / "m-00001-of-00003.gguf"


def part(first: Path, number: int) -> Path:
    return first.with_name(f"m-{number:05}-of-00003.gguf")


def fails(path: Path, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        open_gguf(path)
    assert str(caught.value).isprintable()


def test_whole(first: Path) -> None:
    with open_gguf(first) as model:
        assert list(model.tensors) == ["a", "b", "c", "d"]
        assert [t.read().tobytes() for t in model.tensors.values()] == [c * 32 for c in (b"a", b"b", b"c", b"d")]
        assert model.path == first
        assert model.size == sum(part(first, i).stat().st_size for i in (1, 2, 3))
        assert model.metadata["general.architecture"] == "llama"
        assert len(model.files) == 3


def test_linked_as_in_the_hub_cache(first: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for i in (1, 2, 3):
        blob = part(first, i).rename(tmp_path / f"blob{i}")
        (snapshot / part(first, i).name).symlink_to(blob)
    with open_gguf(snapshot / first.name) as model:
        assert len(model.tensors) == 4


def test_one_part_is_no_split(tmp_path: Path) -> None:
    write_part(tmp_path / "any.gguf", 0, 1, 1, ("a",))
    with open_gguf(tmp_path / "any.gguf") as model:
        assert list(model.tensors) == ["a"]


def test_missing_part(first: Path) -> None:
    part(first, 2).unlink()
    fails(first, r"m-00002-of-00003\.gguf: part 2 of 3 is missing; download all parts")


def test_damaged_part(first: Path) -> None:
    part(first, 3).write_bytes(part(first, 3).read_bytes()[:-1])
    fails(first, r"m-00003-of-00003\.gguf: the file is cut short: 1 of \d+ bytes are missing")


def test_part_that_is_a_folder(first: Path) -> None:
    part(first, 3).unlink()
    part(first, 3).mkdir()
    fails(first, "is a folder")


def test_opened_at_a_later_part(first: Path) -> None:
    fails(part(first, 2), r"is part 2 of 3; open the first part, m-00001-of-00003\.gguf")


def test_renamed(first: Path, tmp_path: Path) -> None:
    fails(first.rename(tmp_path / "model.gguf"), r"its name must end in -00001-of-00003\.gguf")


def test_parts_swapped(first: Path, tmp_path: Path) -> None:
    part(first, 2).rename(tmp_path / "x")
    part(first, 3).rename(part(first, 2))
    (tmp_path / "x").rename(part(first, 3))
    fails(first, r"m-00002-of-00003\.gguf: calls itself part 3 of 3, not 2 of 3")


def test_first_part_calls_itself_another(first: Path) -> None:
    write_part(first, 1, tensors=("a", "b"))
    fails(first, r"is part 2 of 3; open the first part")


def test_part_of_another_model(first: Path) -> None:
    write_part(part(first, 2), 1, count=5, tensors=("c",))
    fails(first, "calls itself part 2 of 5, not 2 of 3")


def test_part_without_keys(first: Path) -> None:
    with GGUFWriter(part(first, 2)) as writer:
        writer.add("some.key", 1)
    fails(first, r"m-00002-of-00003\.gguf: the metadata has no 'split\.no'")


def test_tensor_in_two_parts(first: Path) -> None:
    write_part(part(first, 2), 1, tensors=("a",))
    fails(first, r"the tensor 'a' is in .*m-00001-of-00003\.gguf too")


def test_too_few_tensors(first: Path) -> None:
    write_part(part(first, 2), 1, tensors=())
    fails(first, r"the parts hold 3 tensors, split\.tensors\.count is 4")


@pytest.mark.parametrize(("number", "count", "kind"), [(0, 100000, "u32"), (0, -1, "i32"), (7, 3, "u16")])
def test_senseless_counts(tmp_path: Path, number: int, count: int, kind: str) -> None:
    path = tmp_path / "m-00001-of-00003.gguf"
    write_part(path, number, count, 1, ("a",), kind)
    fails(path, r"'split\.(count|no)' is .* it must be between")


def test_count_of_another_type(tmp_path: Path) -> None:
    with GGUFWriter(tmp_path / "m.gguf") as writer:
        writer.add("split.count", "three")
    fails(tmp_path / "m.gguf", r"'split\.count' is three \(str\); it must be a whole number")
