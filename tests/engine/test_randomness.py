import numpy as np
import pytest

from edgerun.engine.randomness import philox, uniform


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [   # kat_vectors of Random123, the authors' own implementation
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0), (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
    ],
)
def test_known_answers(counter, key, words):
    assert philox(counter, key) == words


def test_uniform_is_in_range_even_and_uncorrelated():
    numbers = np.array([uniform(seed, position) for seed in range(20) for position in range(200)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    assert np.abs(np.histogram(numbers, 10, (0, 1))[0] - 400).max() < 100
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.05


def test_seed_position_and_stream_all_count():
    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (2**32, 0, 0), (0, 2**32, 0), (2**64 - 1, 2**40, 7)]
    assert len({uniform(*place) for place in places}) == len(places)
    assert uniform(5, 9) == uniform(5, 9)
