"""A picture drawn by matplotlib, which need not be installed. Knows no figures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgerun.errors import OutputError, UsageError

PICTURES = (".png", ".svg", ".pdf")


def check_picture(path: Path) -> None:
    """UsageError when no picture can be drawn there, OutputError when it cannot be written: before anything is measured."""
    if path.suffix.lower() not in PICTURES:
        raise UsageError(f"--plot {str(path)!a}: the name of a picture ends in {', '.join(PICTURES)}")
    if not path.absolute().parent.is_dir() or not os.access(path.absolute().parent, os.W_OK):
        raise OutputError(f"--plot {str(path)!a} cannot be written: there is no such folder, or it takes no files")
    _pyplot()


def save(draw: Callable[[Any], None], path: Path) -> None:
    """Have `draw` put something on matplotlib's axes, and keep it in a file. OutputError when it cannot be written."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(8, 5))
    try:
        draw(axes)
        figure.savefig(path)
    except OSError as error:
        raise OutputError(f"--plot {str(path)!a} could not be written: {error.strerror}") from None
    finally:
        plt.close(figure)


def _pyplot() -> Any:
    """matplotlib without a window; UsageError where it is not installed."""
    try:
        import matplotlib
    except ImportError:
        raise UsageError("--plot needs matplotlib; install it with: pip install 'edgerun[plot]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
