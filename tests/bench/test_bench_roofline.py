"""The roofline as text, exactly, and as a picture where matplotlib is there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from bench_cases import answer, loaded, prompt

from edgerun.bench.roofline import intensity, picture, roof, roofline
from edgerun.errors import OutputError, UsageError
from edgerun.picture import check_picture

PLOT = """\
llama 135M Q4_1 (avx2), 2 threads: / 20.0 GB/s, - 400 GMAC/s

    1000 |
         |
         |                                   //---------------------------
         |                                ///
         |                             ///
         |                          ///                             A
         |                       ///
         |                   ////
  GMAC/s |                ///
         |             ///
         |          ///   B
         |       ///
         |    ///
         |////
         |
       1 |
         +----------------------------------------------------------------
          0.1                   multiplications/byte                  1000

  A  pp512: 122.9 GMAC/s at 460 per byte, 31% of its roof
  B  tg10 @ d64: 9.1 GMAC/s at 1 per byte, 45% of its roof
"""


def test_the_plot() -> None:
    assert roofline([prompt(loaded()), answer(loaded())]) == PLOT


def test_points_lie_on_and_below_the_roof() -> None:
    where = loaded()
    one, two = answer(where), prompt(where)
    assert intensity(one) == pytest.approx(1.0, rel=1e-3)
    assert intensity(two) == pytest.approx(460, rel=1e-2)
    assert roof(where.ceilings, 0.5) == 10e9
    assert roof(where.ceilings, 1e3) == 400e9


def test_a_plot_for_each_number_of_threads() -> None:
    text = roofline([prompt(loaded(2)), prompt(loaded(1))])
    assert [line for line in text.splitlines() if line.startswith("llama")] == [
        "llama 135M Q4_1 (avx2), 1 thread: / 20.0 GB/s, - 400 GMAC/s",
        "llama 135M Q4_1 (avx2), 2 threads: / 20.0 GB/s, - 400 GMAC/s",
    ]


@pytest.mark.parametrize(("name", "said"), [("plot", "ends in .png, .svg, .pdf"), ("plot.exe", "ends in .png, .svg, .pdf")])
def test_names_of_no_picture(name: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        check_picture(tmp_path / name)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        check_picture(tmp_path / "nowhere" / "plot.png")


def test_without_matplotlib(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"--plot needs matplotlib; install it with: pip install 'edgerun\[plot\]'"):
        check_picture(tmp_path / "plot.png")


def test_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "plot.svg"
    check_picture(path)
    picture([prompt(loaded(1)), answer(loaded(2))], path)
    assert "</svg>" in path.read_text()


def test_a_picture_by_a_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without matplotlib: what is drawn, and what becomes of an error."""
    drawn = Drawn()
    monkeypatch.setattr("edgerun.picture._pyplot", lambda: drawn)
    picture([prompt(loaded(1)), answer(loaded(2))], tmp_path / "plot.png")
    assert drawn.lines == [3, 1, 3, 1]   # a roof and a point, twice
    drawn.error = OSError(28, "No space left on device")
    with pytest.raises(OutputError, match=r"plot\.png' could not be written: No space left"):
        picture([prompt(loaded(1))], tmp_path / "plot.png")


class Drawn:
    """As much of pyplot, a figure, axes and a line as is used."""

    def __init__(self) -> None:
        self.lines: list[int] = []
        self.error: OSError | None = None

    def subplots(self, **_: object) -> tuple[Drawn, Drawn]:
        return self, self

    def plot(self, x: object, y: object, *_: object, **__: object) -> tuple[Drawn]:
        self.lines.append(len(x) if isinstance(x, list) else 1)
        return (self,)

    def savefig(self, path: Path) -> None:
        if self.error:
            raise self.error

    def get_color(self) -> str:
        return "blue"

    def nothing(self, *_: object, **__: object) -> None: ...

    annotate = set = grid = legend = close = nothing
