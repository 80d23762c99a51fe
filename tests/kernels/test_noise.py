import numpy as np
import pytest

from kernels.sampling.noise import Purpose, philox, uniform, uniforms

SEEDS = [0, 1, -1, 42, 2**31, 2**32, 2**63 - 1, -(2**63), 123_456_789_012_345_678]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # the known answers that come with Random123
        (
            (0, 0, 0, 0),
            (0, 0),
            (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8),
        ),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_generator_gives_the_published_answers(counter, key, words):
    assert philox(counter, key) == words


def test_many_at_once_have_the_bits_of_one_by_one():
    rng = np.random.default_rng(0)
    seeds = np.concatenate([SEEDS, rng.integers(-(2**63), 2**63 - 1, 200)])
    choices = rng.integers(0, 2**32, len(seeds))
    positions = rng.integers(0, 2**32, len(seeds))
    together = uniforms(seeds, choices, positions)
    assert together.dtype == np.float64
    one_by_one = [
        uniform(int(s), int(c), int(p)) for s, c, p in zip(seeds, choices, positions, strict=True)
    ]
    assert together.tolist() == one_by_one
    assert all(0 <= number < 1 for number in one_by_one)


def test_number_does_not_depend_on_what_else_is_drawn():
    positions = np.arange(100)
    seeds, choices = np.full(100, 7), np.zeros(100, dtype=np.int64)
    together = uniforms(seeds, choices, positions)
    for row in (0, 41, 99):
        alone = uniforms(seeds[row : row + 1], choices[row : row + 1], positions[row : row + 1])
        assert alone[0] == together[row]


def test_unsigned_seeds_and_no_rows_are_taken():
    seed = np.array([2**64 - 1], dtype=np.uint64)
    assert uniforms(seed, np.array([3]), np.array([5]))[0] == uniform(-1, 3, 5)
    nothing = np.array([], dtype=np.int64)
    assert uniforms(nothing, nothing, nothing).shape == (0,)


def test_each_part_of_the_key_matters():
    base = uniform(1, 2, 3, Purpose.SAMPLE)
    others = [uniform(2, 2, 3), uniform(1, 3, 3), uniform(1, 2, 4), uniform(1 + 2**32, 2, 3)]
    assert len({base, *others}) == 5
    assert uniform(1, 2, 3) == base
    swapped = [uniform(1, 3, 2), uniform(3, 2, 1), uniform(2, 1, 3)]
    assert base not in swapped


@pytest.mark.parametrize(("choice", "position"), [(-1, 0), (2**32, 0), (0, -1), (0, 2**32)])
def test_counters_out_of_range_are_refused(choice, position):
    with pytest.raises(ValueError, match=r"must be in \[0, 2\^32\)"):
        uniform(0, choice, position)


def series(along, size=100_000):
    """Numbers along one part of the key, the others fixed."""
    parts = {name: np.full(size, 9) for name in ("seed", "choice", "position")}
    parts[along] = np.arange(size)
    return uniforms(parts["seed"], parts["choice"], parts["position"])


@pytest.mark.parametrize("along", ["seed", "choice", "position"])
def test_numbers_are_uniform_and_uncorrelated_along_each_part_of_the_key(along):
    numbers = series(along)
    size = len(numbers)
    counts = np.bincount((numbers * 100).astype(int), minlength=100)
    chi_square = ((counts - size / 100) ** 2 / (size / 100)).sum()
    assert 42 < chi_square < 173  # 99 degrees of freedom, one in a million on either side
    for lag in (1, 2, 16):
        correlation = np.corrcoef(numbers[:-lag], numbers[lag:])[0, 1]
        assert abs(correlation) < 5 / np.sqrt(size)


def test_low_bits_are_random_too():
    low = (series("position") * 2**53).astype(np.int64) & 0xFF
    counts = np.bincount(low, minlength=256)
    expected = len(low) / 256
    assert 160 < ((counts - expected) ** 2 / expected).sum() < 385  # 255 degrees of freedom


def test_neighbouring_seeds_give_independent_series():
    first, second = (
        uniforms(np.full(50_000, seed), np.zeros(50_000, dtype=np.int64), np.arange(50_000))
        for seed in (1, 2)
    )
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(50_000)
