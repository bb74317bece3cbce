"""`edgerun path`: where a model file is, for scripts. Knows how the command is typed; the rest is in `edgerun.hub`."""

from __future__ import annotations

from edgerun.cli.pull import Ref
from edgerun.cli.terminal import stdout


def command(ref: Ref) -> None:
    """Print where a model file is.

    Of a split model it is the first part. Nothing is fetched: a model that is not here is an error.
    """
    from edgerun.hub import resolve

    print(resolve(ref, download=False), file=stdout())
