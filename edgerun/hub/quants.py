"""Which file of a hub repository to take, from the names of its files. Knows neither the network nor the disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from edgerun.errors import SourceError
from edgerun.hub.names import shown

# What `hf:user/repo` means when the repository holds several files: four bits with the best quality first (half the memory traffic
# of Q8_0, and decoding is bound by it), then more bits, then fewer, then unquantized.
PREFERENCE = (
    "Q4_K_M", "Q4_K_S", "Q4_0", "Q4_1", "IQ4_NL", "Q5_K_M", "Q5_K_S", "Q5_0", "Q5_1", "Q6_K", "Q8_0",
    "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K", "F16", "BF16", "F32",
)

_SPLIT = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
_MOST_SPLITS = 999
_NOT_A_MODEL = re.compile(r"(^|[-._/])(mmproj|imatrix|mtp|vocab)([-._/]|$)", re.IGNORECASE)   # projectors, statistics, parts of models


def choose(names: Iterable[str], want: str, where: str) -> str:
    """The file of `names` with quantization `want`, or by PREFERENCE where `want` is empty; the first part of a split file.

    SourceError, listing what there is, when nothing fits or several do.
    """
    models = sorted(n for n in names if n.endswith(".gguf") and not _NOT_A_MODEL.search(n) and _split_number(n) in (None, 1))
    if not models:
        raise SourceError(f"{where} holds no GGUF model; look for a repository whose name ends in -GGUF")
    for quant in [want] if want else PREFERENCE:
        if fitting := _with_quant(models, quant):
            return fitting
    if not want and len(models) == 1:
        return models[0]
    there = ", ".join(shown(n)[1:-1] for n in models[:12]) + (", ..." if len(models) > 12 else "")
    what = f"no file with quantization {want}" if want else "several models and none of the usual quantizations"
    raise SourceError(f"{where} holds {what}; name one of its files: {there}")


def split_names(name: str) -> list[str]:
    """All parts of the split file whose first part is `name`; just `name` where it is not split."""
    found = _SPLIT.fullmatch(name)
    if not found:
        return [name]
    count = int(found[3])
    if not 1 <= int(found[2]) <= count <= _MOST_SPLITS:
        raise SourceError(f"{shown(name)} is numbered as part {int(found[2])} of {count}, which makes no sense")
    return [f"{found[1]}-{i:05d}-of-{count:05d}.gguf" for i in range(1, count + 1)]


def is_later_part(name: str) -> bool:
    """Whether `name` is a part of a split file other than the first."""
    return _split_number(name) not in (None, 1)


def _split_number(name: str) -> int | None:
    found = _SPLIT.fullmatch(name)
    return int(found[2]) if found else None


def _with_quant(models: Sequence[str], quant: str) -> str | None:
    """The shortest name with `quant` as one of its words: variants add words to the plain file's name."""
    word = re.compile(rf"(^|[-._/]){re.escape(quant)}([-._/])", re.IGNORECASE)
    return min((n for n in models if word.search(n)), key=lambda n: (len(n), n), default=None)
