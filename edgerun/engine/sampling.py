"""From logits to a token id, by a chain of steps that `Sampler.describe` shows. Knows no text.

The chain, in llama.cpp's order: logit bias, penalties, top-k, top-p, min-p, temperature, draw. Truncation thus looks at the
probabilities before the temperature. The same logits, settings, seed, position and recent tokens give the same token.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from edgerun.engine.candidates import draw, largest, nucleus
from edgerun.engine.randomness import uniform
from edgerun.errors import ModelError, UsageError

_INFINITY = math.inf
_FLAGS = {"temperature": "--temp"}   # the others are called as the fields are
_BOUNDS: dict[str, tuple[float, float]] = {
    "temperature": (0, 1e6),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "repeat_penalty": (1e-3, 1e3),
    "presence_penalty": (-1e6, 1e6),
    "frequency_penalty": (-1e6, 1e6),
    "top_k": (-1, 2**31),
    "repeat_last_n": (-1, 2**31),
    "seed": (-1, 2**64 - 1),
}


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. UsageError, naming the flag, for a value that makes no sense.

    temperature: 0 takes the most likely token (of equal ones the lowest id), whatever else is set; below 1 sharpens, above flattens
    top_k: keep the k most likely tokens; 0: all
    top_p: of these, the most likely whose probabilities reach p together; 1: all
    min_p: of these, the ones at least p times as likely as the most likely; 0: all
    repeat_penalty: logits of recent tokens are divided by it if positive, else multiplied; 1: none
    repeat_last_n: how many tokens are recent; 0: none, -1: all
    presence_penalty, frequency_penalty: subtracted from the logit of a recent token, once and per occurrence
    seed: same seed, same answer; None or -1: another one every time
    logit_bias: added to the logits, by token id; -inf forbids a token
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    repeat_last_n: int = 64
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    logit_bias: Mapping[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (item.name for item in fields(self) if item.name in _BOUNDS):
            value, (low, high) = getattr(self, name), _BOUNDS[name]
            if name == "seed" and value is None:
                continue
            whole = isinstance(high, int) and name in ("top_k", "repeat_last_n", "seed")
            kinds = "a whole number" if whole else "a number"
            if not isinstance(value, (int, float)) or not low <= value <= high or (whole and value != int(value)):
                raise UsageError(f"{_flag(name)} must be {kinds} from {low:.15g} to {high:.15g}, got {str(value)!a:.40}")
            if whole:
                object.__setattr__(self, name, int(value))   # a model file may give it as 40.0
        for token, bias in self.logit_bias.items():
            if not isinstance(token, int) or token < 0 or not isinstance(bias, (int, float)) or not bias < _INFINITY:
                raise UsageError(f"--logit-bias takes token ids and finite numbers or -inf, got {str((token, bias))!a:.40}")

    def overridden(self, values: Mapping[str, Any]) -> Sampling:
        """This with other values for some fields, by their names. UsageError for a name that is none."""
        known = [item.name for item in fields(self)]
        if unknown := set(values).difference(known):
            raise UsageError(f"{', '.join(sorted(unknown))}: not an option of sampling; these are {', '.join(known)}")
        return replace(self, **values)


class Sampler:
    """The chain of a `Sampling`. `seed` is the one in use, also where none was asked for."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self.seed = int.from_bytes(os.urandom(4), "little") if sampling.seed in (None, -1) else int(sampling.seed or 0)
        self._biased = np.fromiter(sampling.logit_bias, np.int64, len(sampling.logit_bias))
        self._biases = np.fromiter(sampling.logit_bias.values(), np.float32, len(sampling.logit_bias))
        self._penalizes = sampling.repeat_last_n != 0 and (
            sampling.repeat_penalty != 1 or sampling.presence_penalty != 0 or sampling.frequency_penalty != 0
        )

    def __call__(self, logits: np.ndarray, position: int, recent: Sequence[int] = ()) -> int:
        """The token id to put at `position`. logits: float32 [n_vocab], left as they are; recent: the tokens so far, the latest last.

        ModelError where the logits are no numbers; UsageError where the bias forbids every token.
        """
        sampling = self.sampling
        logits = self._adjusted(logits, recent)
        best = int(logits.argmax())   # the first of equal ones; a NaN wins
        peak = float(logits[best])
        if not math.isfinite(peak):
            raise self._complaint(peak, position)
        if sampling.temperature == 0:
            return best
        ids = self._survivors(logits, peak)
        values = logits if ids is None else logits[ids]
        chosen = draw(values, peak, sampling.temperature, uniform(self.seed, position))
        return chosen if ids is None else int(ids[chosen])

    def describe(self) -> list[str]:
        """The steps that do something, in order, with their settings."""
        use = self.sampling
        chain = []
        if use.logit_bias:
            chain.append(f"logit bias on {len(use.logit_bias)} tokens")
        if self._penalizes:
            window = f"last {use.repeat_last_n}" if use.repeat_last_n > 0 else "all"
            settings = f"repeat {use.repeat_penalty:g}, presence {use.presence_penalty:g}, frequency {use.frequency_penalty:g}"
            chain.append(f"penalties on {window} tokens: {settings}")
        if use.temperature == 0:
            return [*chain, "greedy"]
        chain += [f"top-k {use.top_k}"] if use.top_k > 0 else []
        chain += [f"top-p {use.top_p:g}"] if use.top_p < 1 else []
        chain += [f"min-p {use.min_p:g}"] if use.min_p > 0 else []
        return [*chain, f"temperature {use.temperature:g}", f"draw with seed {self.seed}"]

    def _adjusted(self, logits: np.ndarray, recent: Sequence[int]) -> np.ndarray:
        if not self._biased.size and not (self._penalizes and len(recent)):
            return logits
        if self._biased.size and int(self._biased.max()) >= logits.size:
            raise UsageError(f"--logit-bias: token {int(self._biased.max())} is not in the vocabulary of {logits.size} tokens")
        logits = logits.copy()
        logits[self._biased] += self._biases
        if self._penalizes:
            self._penalize(logits, recent)
        return logits

    def _penalize(self, logits: np.ndarray, recent: Sequence[int]) -> None:
        use = self.sampling
        counts = Counter(recent if use.repeat_last_n < 0 else recent[-use.repeat_last_n :])
        ids = np.fromiter(counts, np.int64, len(counts))
        times = np.fromiter(counts.values(), np.float32, len(counts))
        values = logits[ids]
        repeat = np.float32(use.repeat_penalty)
        values = np.where(values <= 0, values * repeat, values / repeat)
        logits[ids] = values - (times * np.float32(use.frequency_penalty) + np.float32(use.presence_penalty))

    def _survivors(self, logits: np.ndarray, peak: float) -> np.ndarray | None:
        """Ids, ascending, that top-k, top-p and min-p leave; None for all."""
        use = self.sampling
        floor = peak + math.log(use.min_p) if use.min_p > 0 else -_INFINITY
        ids = largest(logits, use.top_k) if 0 < use.top_k < logits.size else None
        values = logits if ids is None else logits[ids]
        if use.top_p < 1:
            kept = nucleus(values, peak, use.top_p, floor)
        elif use.min_p > 0:
            kept = np.flatnonzero(values >= floor)
        else:
            return ids
        return kept if ids is None else ids[kept]

    def _complaint(self, peak: float, position: int) -> Exception:
        if peak == -_INFINITY:
            return UsageError(f"no token is allowed at position {position}: the model or --logit-bias forbids all of them")
        return ModelError(f"the model computed {peak} at position {position}: the file is damaged, or not meant for this architecture")


def _flag(name: str) -> str:
    return _FLAGS.get(name, "--" + name.replace("_", "-"))
