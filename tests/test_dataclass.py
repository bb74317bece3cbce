import dataclasses
from functools import cached_property

import pytest

from edgerun.dataclass import dataclass


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 2

    def __post_init__(self) -> None:
        assert self.x < 100


@dataclass(frozen=True)
class Deep(Point):
    z: tuple[int, ...] = ()

    @cached_property
    def sum(self) -> int:
        return self.x + self.y


class Standard:
    """The same two classes, made by the standard library."""

    @dataclasses.dataclass(frozen=True)
    class Point:
        x: int
        y: int = 2

    @dataclasses.dataclass(frozen=True)
    class Deep(Point):
        z: tuple[int, ...] = ()


@pytest.mark.parametrize("args", [(1,), (1, 2), (1, 5)])
def test_it_is_what_the_standard_one_is(args: tuple[int, ...]) -> None:
    ours, theirs = Point(*args), Standard.Point(*args)
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert repr(ours) == repr(theirs).removeprefix("Standard.")
    assert dataclasses.replace(ours, y=7) == Point(args[0], 7)
    assert [f.name for f in dataclasses.fields(Deep)] == [f.name for f in dataclasses.fields(Standard.Deep)]
    assert dataclasses.asdict(Deep(*args, z=(3,))) == dataclasses.asdict(Standard.Deep(*args, z=(3,)))


def test_equal_is_of_one_class_with_equal_fields() -> None:
    assert Point(1) == Point(x=1, y=2) != Point(1, 3)
    assert Point(1) != Deep(1)
    assert hash(Point(1)) == hash(Point(1, 2))
    assert len({Point(1), Point(1, 2), Point(2), Deep(1)}) == 3


def test_what_a_property_keeps_makes_no_difference() -> None:
    point = Deep(1)
    assert point.sum == 3
    assert point == Deep(1)
    assert hash(point) == hash(Deep(1))
    assert repr(point) == repr(Deep(1))


def test_it_does_not_change() -> None:
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        point.x = 2   # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point.x
    with pytest.raises(AssertionError):
        Point(100)


@pytest.mark.parametrize(("args", "kwargs"), [((), {}), ((1, 2, 3), {}), ((1,), {"x": 1}), ((1,), {"w": 1}), ((), {"y": 1})])
def test_wrong_arguments(args: tuple, kwargs: dict) -> None:
    with pytest.raises(TypeError, match="Point takes x, y"):
        Point(*args, **kwargs)
    with pytest.raises(TypeError):
        Standard.Point(*args, **kwargs)
