"""Any metadata gives a program or one clear line, in every family, soon and without asking for memory that the file does not warrant."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import pytest
from oracle_case import NAMES, OracleCase, load

from edgerun.backends import cpu
from edgerun.errors import ModelError
from edgerun.graph.lower import lower
from edgerun.models import spec_from

NUMBERS = (0, -1, 1, 2, 3, 7, 64, 1 << 20, (1 << 31) - 1, 1 << 40, -(1 << 63), (1 << 64) - 1, 0.5, -0.5, 1.0, 1e30, 1e308, 1e-320, math.nan, math.inf, -math.inf)
WORDS = (True, False, "", "yarn", "longrope", "linear", "none", "\x1b[31mx" * 2000)
OTHERS = (None, [], [[]], [None], list(range(100_000)))   # None: the key is not there
ALONE, TOGETHER = 2, 20   # values tried for each key by itself, and sets of several keys


class Asked(dict[str, Any]):
    """Metadata that writes down which keys a family asks for."""

    def __init__(self, metadata: dict[str, Any]) -> None:
        super().__init__(metadata)
        self.keys_asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.keys_asked.add(key)
        return super().get(key, default)


def changes(n_layer: int, keys: list[str], rng: random.Random) -> list[dict[str, Any]]:
    """What is put in place of the file's own values: one key after another, then several at once."""
    items = NUMBERS + WORDS
    values = [*items, *OTHERS, *([item] * n_layer for item in items), [1] + [0] * (n_layer - 1)]
    alone = [{key: value} for key in keys for value in rng.sample(values, ALONE)]
    return alone + [{key: rng.choice(values) for key in rng.sample(keys, rng.randint(2, 4))} for _ in range(TOGETHER)]


def bytes_planned(case: OracleCase, metadata: dict[str, Any]) -> int:
    """What the model would take with so little context that weights and rows decide."""
    program = lower(spec_from(metadata, case.shapes, case.read), case.shapes)
    return cpu.plan(program, case.tensors, pages=1, max_rows=8, numerics="fast", kv="f16").total


@pytest.mark.parametrize("name", NAMES)
def test_any_metadata_gives_a_program_or_a_model_error(name: str) -> None:
    case = load(name)
    asked = Asked(dict(case.metadata))
    n_layer = spec_from(asked, case.shapes, case.read).n_layer
    keys, plain = sorted(asked.keys_asked - {"general.architecture"}), bytes_planned(case, asked)
    assert len(keys) > 10
    for changed in changes(n_layer, keys, random.Random(name)):
        start, message = time.process_time(), ""
        try:
            assert bytes_planned(case, {key: value for key, value in {**case.metadata, **changed}.items() if value is not None}) < 20 * plain, changed
        except ModelError as error:
            message = str(error)
        assert message.isprintable(), changed
        assert len(message) < 600, changed
        assert time.process_time() - start < 1, changed
