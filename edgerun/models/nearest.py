"""What to say of a file whose architecture nobody here knows: which family comes nearest, by its name and by the tensors it has."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping

from edgerun.errors import ModelError
from edgerun.graph.lower import survey
from edgerun.models.hyperparameters import Hyperparameters
from edgerun.models.spec import Spec

Families = Mapping[str, Callable[[Hyperparameters], Spec]]
MOST_TENSORS = 5000   # of a file that is looked at: every family is tried on it


def nearest(architecture: str, shapes: Mapping[str, tuple[int, ...]], families: Families, open_file: Callable[[], Hyperparameters]) -> str:
    """One line: the family with the nearest name, the one whose tensors fit best, and what would have to be added to it.

    open_file: the file's hyperparameters, from the beginning for each family that is tried.
    """
    by_name = difflib.get_close_matches(architecture[:80].replace("-", "_"), families, n=1, cutoff=0.0)[0]
    tried = {name: gap for name in sorted(families) if (gap := _gap(families[name], shapes, open_file)) is not None} if len(shapes) <= MOST_TENSORS else {}
    if not tried:
        return f"the nearest of {len(families)} supported ones by name is '{by_name}'; none takes its metadata as it is"
    # Of equals, the one with the nearest name.
    best = min(tried, key=lambda name: (sum(map(len, tried[name])), -difflib.SequenceMatcher(None, name, architecture[:80]).ratio()))
    missing, unknown = tried[best]
    parts = [part for part in (_listed("needs also", missing), _listed("does not know", unknown)) if part]
    return f"the nearest of {len(families)} supported ones is '{by_name}' by name and '{best}' by tensors, which {' and '.join(parts) or 'takes all of them'}"


def _gap(family: Callable[[Hyperparameters], Spec], shapes: Mapping[str, tuple[int, ...]], open_file: Callable[[], Hyperparameters]) -> tuple[set[str], set[str]] | None:
    """Kinds of tensors that the family needs otherwise than they are, and that it does not know; None where it refuses the metadata."""
    try:
        found = survey(family(open_file()), shapes)
    except ModelError:
        return None
    return _kinds(found.missing | found.misshapen), _kinds(found.unused())


def _kinds(names: Iterable[str]) -> set[str]:
    """The names without the numbers of layers."""
    return {re.sub(r"^blk\.\d+\.", "blk.N.", name) for name in names}


def _listed(verb: str, kinds: set[str]) -> str:
    """The first few of some tensors behind a verb; nothing for none."""
    few = ", ".join(ascii(kind)[:60] for kind in sorted(kinds)[:3]) + (f" and {len(kinds) - 3} more" if len(kinds) > 3 else "")
    return f"{verb} {few}" if kinds else ""
