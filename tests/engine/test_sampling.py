import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerun.engine.candidates import draw, largest
from edgerun.engine.randomness import uniform
from edgerun.engine.sampling import Sampler, Sampling
from edgerun.errors import ModelError, UsageError

VOCABULARY = 151_936


def obvious(use: Sampling, logits: np.ndarray, position: int, recent=()) -> int:
    """The chain as one would write it without a thought for speed: the definition."""
    logits = logits.copy()
    for token, bias in use.logit_bias.items():
        logits[token] += np.float32(bias)
    window = list(recent) if use.repeat_last_n < 0 else list(recent)[-use.repeat_last_n :] if use.repeat_last_n else []
    for token in set(window):
        value, repeat = logits[token], np.float32(use.repeat_penalty)
        value = value * repeat if value <= 0 else value / repeat
        logits[token] = value - (np.float32(window.count(token)) * np.float32(use.frequency_penalty) + np.float32(use.presence_penalty))
    order = np.argsort(-logits, kind="stable")   # of equal ones the lower id first
    if use.temperature == 0:
        return int(order[0])
    peak = float(logits[order[0]])
    if use.top_k > 0:
        order = order[: use.top_k]
    if use.top_p < 1:
        weights = np.exp(logits[order].astype(np.float64) - peak)
        total = np.exp(logits[np.sort(order)].astype(np.float64) - peak).sum()
        order = order[: int(np.searchsorted(np.cumsum(weights), use.top_p * total)) + 1]
    if use.min_p > 0:
        order = order[logits[order] >= np.float32(peak + math.log(use.min_p))]
    ids = np.sort(order)
    sums = np.cumsum(np.exp((logits[ids].astype(np.float64) - peak) / use.temperature))
    return int(ids[min(np.searchsorted(sums, uniform(use.seed, position) * sums[-1], side="right"), ids.size - 1)])


def made(kind: str, size: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "peaks":   # what a language model gives: few likely tokens over a broad rest
        logits = rng.standard_normal(size) * 2
        logits[rng.integers(0, size, 50)] += rng.exponential(6, 50) + 4
    elif kind == "ties":
        logits = rng.integers(-6, 6, size)
    elif kind == "equal":
        logits = np.zeros(size)
    elif kind == "masked":
        logits = np.where(rng.random(size) < 0.9, -np.inf, rng.standard_normal(size) * 3)
    else:
        logits = rng.standard_normal(size) * 2.5
    return logits.astype(np.float32)


CHAINS = [
    {},
    {"top_k": 0},
    {"top_k": 0, "min_p": 0.0},
    {"top_k": 0, "min_p": 0.0, "top_p": 1.0},
    {"top_k": 700, "top_p": 1.0},
    {"top_k": 0, "top_p": 1.0},
    {"top_k": 0, "min_p": 0.0, "top_p": 0.0},
    {"top_k": 0, "min_p": 0.0, "top_p": 0.999999},
    {"temperature": 3.0, "top_k": -1, "min_p": 0.001},
    {"temperature": 1e-9, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    {"temperature": 0.0},
    {"repeat_penalty": 1.3, "presence_penalty": 0.5, "frequency_penalty": 0.25, "repeat_last_n": 5},
    {"repeat_penalty": 0.7, "repeat_last_n": -1, "logit_bias": {0: 20.0, 7: -math.inf}},
]


@pytest.mark.parametrize("kind", ["peaks", "normal", "ties", "equal", "masked"])
@pytest.mark.parametrize("chain", CHAINS, ids=str)
def test_chain_is_the_obvious_one(kind, chain):
    use = Sampling(seed=11, **chain)
    sampler = Sampler(use)
    for position, size in enumerate((20_000, 20_000, 3000, 60)):
        logits = made(kind, size, position)
        recent = [int(token) for token in np.argsort(-logits)[:12]] + [0, 7, 0]
        before = logits.copy()
        assert sampler(logits, position, recent) == obvious(use, logits, position, recent)
        assert np.array_equal(logits, before)


@settings(deadline=None, max_examples=150)
@given(
    logits=st.lists(st.floats(-30, 30, width=32) | st.just(-math.inf), min_size=1, max_size=40).filter(lambda some: max(some) > -math.inf),
    temperature=st.floats(0, 5),
    top_k=st.integers(0, 45),
    top_p=st.floats(0, 1),
    min_p=st.floats(0, 1),
    position=st.integers(0, 2**40),
)
def test_chain_is_the_obvious_one_on_anything(logits, temperature, top_k, top_p, min_p, position):
    use = Sampling(temperature, top_k, top_p, min_p, seed=3)
    logits = np.array(logits, np.float32)
    token = Sampler(use)(logits, position)
    assert token == obvious(use, logits, position)
    assert logits[token] > -math.inf


def test_whole_vocabulary_is_exact_too():
    for position, chain in enumerate(CHAINS[:4]):
        use = Sampling(seed=5, **chain)
        logits = made("peaks", VOCABULARY, position)
        assert Sampler(use)(logits, position) == obvious(use, logits, position)


def test_largest_takes_the_first_of_equal_ones():
    values = np.zeros(5000, np.float32)
    values[4000:] = 1
    assert largest(values, 3).tolist() == [4000, 4001, 4002]
    assert largest(values, 1002).tolist() == [0, 1, *range(4000, 5000)]
    assert largest(values[:3], 9).tolist() == [0, 1, 2]


def test_draw_never_takes_what_has_no_weight():
    values = np.array([-np.inf, 0, -np.inf, -np.inf], np.float32)
    assert [draw(values, 0.0, 1.0, number) for number in (0.0, 0.5, 1 - 2**-53)] == [1, 1, 1]
    many = np.full(20_000, -np.inf, np.float32)
    many[12_345] = 3
    assert {draw(many, 3.0, 0.7, number) for number in (0.0, 0.3, 1 - 2**-53)} == {12_345}


def test_draw_follows_the_probabilities():
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    sampler = Sampler(Sampling(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, seed=1))
    counts = np.bincount([sampler(logits, position) for position in range(4000)], minlength=3)
    assert np.abs(counts / 4000 - [0.5, 0.3, 0.2]).max() < 0.03


def test_greedy_takes_the_lowest_of_equal_ids_and_needs_no_seed():
    logits = np.zeros(1000, np.float32)
    logits[[400, 17, 900]] = 2
    assert Sampler(Sampling(temperature=0))(logits, 0) == 17
    assert Sampler(Sampling(temperature=0, logit_bias={900: 0.5}))(logits, 0) == 900


def test_same_seed_same_tokens_whatever_came_before():
    logits = made("normal", 4000, 0)
    first = Sampler(Sampling(seed=42))
    forward = [first(logits, position) for position in range(20)]
    again = Sampler(Sampling(seed=42))
    assert [again(logits, position) for position in reversed(range(20))] == forward[::-1]
    assert [Sampler(Sampling(seed=43))(logits, position) for position in range(20)] != forward
    assert Sampler(Sampling()).seed != Sampler(Sampling(seed=-1)).seed


@pytest.mark.parametrize(("value", "error"), [(math.nan, ModelError), (math.inf, ModelError), (-math.inf, UsageError)])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_logits_that_are_no_numbers_are_said(value, error, temperature):
    logits = np.full(3000, -math.inf, np.float32) if value == -math.inf else made("normal", 3000, 0)
    logits[77] = value
    with pytest.raises(error, match="position 9"):
        Sampler(Sampling(temperature=temperature))(logits, 9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": -0.1}, "--temp must be a number from 0"),
        ({"temperature": math.nan}, "--temp"),
        ({"top_k": -2}, "--top-k must be a whole number"),
        ({"top_k": 1.5}, "--top-k"),
        ({"top_p": 1.01}, "--top-p must be a number from 0 to 1, got '1.01'"),
        ({"min_p": -1}, "--min-p"),
        ({"repeat_penalty": 0}, "--repeat-penalty"),
        ({"repeat_last_n": -5}, "--repeat-last-n"),
        ({"presence_penalty": math.inf}, "--presence-penalty"),
        ({"frequency_penalty": "x\x1b[31m"}, "--frequency-penalty"),
        ({"seed": 2**64}, "--seed"),
        ({"logit_bias": {-1: 1.0}}, "--logit-bias"),
        ({"logit_bias": {1: math.inf}}, "--logit-bias"),
        ({"logit_bias": {1: math.nan}}, "--logit-bias"),
    ],
)
def test_senseless_settings_name_the_flag(options, words):
    with pytest.raises(UsageError) as caught:
        Sampling(**options)
    assert words in str(caught.value)
    assert str(caught.value).isprintable()


def test_bias_beyond_the_vocabulary():
    with pytest.raises(UsageError, match="token 10 is not in the vocabulary of 10 tokens"):
        Sampler(Sampling(logit_bias={10: 1.0}))(np.zeros(10, np.float32), 0)


def test_numbers_from_a_file_become_whole():
    assert Sampling(top_k=40.0).top_k == 40   # type: ignore[arg-type]


def test_the_chain_is_visible():
    assert Sampler(Sampling(seed=7)).describe() == ["top-k 40", "top-p 0.95", "min-p 0.05", "temperature 0.8", "draw with seed 7"]
    assert Sampler(Sampling(temperature=0, repeat_penalty=1.1, logit_bias={1: 1.0})).describe() == [
        "logit bias on 1 tokens",
        "penalties on last 64 tokens: repeat 1.1, presence 0, frequency 0",
        "greedy",
    ]
    assert Sampler(Sampling(top_k=0, top_p=1, min_p=0, temperature=1, seed=1)).describe() == ["temperature 1", "draw with seed 1"]


def test_sampling_is_fast():
    """The default chain takes 0.1 ms of 150,000 logits; ten times that would be noticed."""
    logits, sampler = made("peaks", VOCABULARY, 0), Sampler(Sampling(seed=1))
    times = []
    for position in range(30):
        start = time.perf_counter()
        sampler(logits, position)
        times.append(time.perf_counter() - start)
    assert min(times) < 1e-3
