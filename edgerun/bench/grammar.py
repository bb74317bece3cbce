"""What to measure, as llama-bench writes it: values by commas or repetition, ranges, and all their combinations. Knows no model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from edgerun.dataclass import dataclass
from edgerun.errors import UsageError

MOST_CASES = 1000        # more is a slip of the finger
LARGEST = 1 << 26        # tokens, as `engine/fit.py` bounds a context

_RANGE = re.compile(r"(\d{1,9})(?:-(\d{1,9})(?:\+(\d{1,9})|\*(\d{1,9}))?)?", re.ASCII)


@dataclass(frozen=True)
class Case:
    """One test: `prompt` tokens evaluated together, then `gen` tokens one by one, behind `depth` that are in memory already."""

    prompt: int
    gen: int
    depth: int = 0

    @property
    def name(self) -> str:
        """As llama-bench calls it: pp512, tg128 @ d2048, pp512+tg128."""
        parts = [f"{kind}{count}" for kind, count in (("pp", self.prompt), ("tg", self.gen)) if count]
        return "+".join(parts) + (f" @ d{self.depth}" if self.depth else "")

    @property
    def tokens(self) -> int:
        """Tokens that count."""
        return self.prompt + self.gen


@dataclass(frozen=True)
class Setting:
    """What a model is loaded with. threads: None for the default; batch, ubatch: prompt rows per call and per step; device: as for `load`."""

    model: str
    threads: int | None = None
    kv: str = "f16"
    batch: int = 2048
    ubatch: int = 512
    device: str = "auto"

    @property
    def kinds(self) -> tuple[str, str]:
        """The types of the keys and of the values."""
        keys, _, values = self.kv.partition(":")
        return keys, values or keys


def numbers(texts: Sequence[str] | None, option: str, default: Sequence[int], least: int = 0) -> list[int]:
    """`512`, `128,256`, `1-4`, `64-512*2`, `100-300+100`, also several of them. UsageError for anything else."""
    if not texts:
        return list(default)
    found: list[int] = []
    for part in ",".join(texts).split(","):
        found += _range(part.strip(), option)
        if len(found) > MOST_CASES:
            raise UsageError(f"{option} asks for more than {MOST_CASES} values; use fewer")
    for number in found:
        if not least <= number <= LARGEST:
            raise UsageError(f"{option} takes {least} to {LARGEST}, not {number}")
    return list(dict.fromkeys(found))


def pairs(texts: Sequence[str] | None, option: str) -> list[tuple[int, int]]:
    """`512,128`: a prompt and what is generated behind it; may be repeated. UsageError for anything else."""
    found = []
    for text in texts or ():
        match = re.fullmatch(r"(\d{1,9}),(\d{1,9})", text.strip(), re.ASCII)
        if not match or not int(match[1]) or not int(match[2]) or max(int(match[1]), int(match[2])) > LARGEST:
            raise UsageError(f"{option} {text[:40]!a} is not a prompt and a number of tokens behind it, as 512,128")
        found.append((int(match[1]), int(match[2])))
    return list(dict.fromkeys(found))


def words(texts: Sequence[str] | None, default: Sequence[str]) -> list[str]:
    """Names, separated by commas."""
    found = [word.strip() for text in texts or () for word in text.split(",")]
    return list(dict.fromkeys(word for word in found if word)) or list(default)


def kinds(keys: Sequence[str], values: Sequence[str]) -> list[str]:
    """The types of key/value memory, as `edgerun.load` takes them: each of the keys with each of the values; without values, with itself."""
    return [f"{k}:{v}" if k != v else k for k in keys for v in values] if values else list(keys)


def cases(prompts: Iterable[int], gens: Iterable[int], both: Iterable[tuple[int, int]], depths: Iterable[int]) -> list[Case]:
    """The tests in llama-bench's order: by depth, then prompts, generation, both. A count of 0 is no test."""
    prompts, gens, both = list(prompts), list(gens), list(both)
    shapes = [(n, 0) for n in prompts if n] + [(0, n) for n in gens if n] + both
    found = [Case(prompt, gen, depth) for depth in depths for prompt, gen in shapes]
    if not found:
        raise UsageError("there is nothing to measure; give -p, -n or -pg")
    return found


def settings(
    models: Sequence[str], threads: Sequence[int | None], kv: Sequence[str], batches: Sequence[int], ubatches: Sequence[int], most_rows: int
) -> list[Setting]:
    """All combinations. UsageError where a step would have more rows than the engine computes at once."""
    found = [Setting(m, t, c, b, u) for m, b, u, c, t in product(models, batches, ubatches, kv, threads)]
    for setting in found:
        if min(setting.batch, setting.ubatch) > most_rows:
            raise UsageError(f"-b {setting.batch} -ub {setting.ubatch} makes steps of more than {most_rows} rows; use -ub {most_rows} or less")
    if len(found) > MOST_CASES:
        raise UsageError(f"{len(found)} combinations are too many; use at most {MOST_CASES}")
    return found


def _range(text: str, option: str) -> Iterator[int]:
    """The numbers of one part, never more than are allowed in all."""
    match = _RANGE.fullmatch(text)
    if not match:
        raise UsageError(f"{option} {text[:40]!a} is no number, nor a range as 1-4, 100-300+100 or 64-512*2")
    first, last = int(match[1]), int(match[2] or match[1])
    step, factor = int(match[3] or 1), int(match[4] or 1)
    if first > last or not step or (match[4] and (factor < 2 or not first)):
        raise UsageError(f"{option} {text[:40]!a} is a range that never gets to its end")
    for _ in range(MOST_CASES + 1):
        if first > last:
            return
        yield first
        first = first * factor if match[4] else first + step
