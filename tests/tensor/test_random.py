"""Random numbers: reproducible, plausible, from a counter that advances by known steps."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

import wengert as wg
from tests.tensor.shared import array, leaf
from wengert import DTypeError, ShapeError
from wengert.tensor.random import default_generator

N = 20_000

DRAWS = {
    "rand": lambda g: wg.rand(7, 3, generator=g),
    "rand float64": lambda g: wg.rand(7, 3, dtype=wg.float64, generator=g),
    "randn": lambda g: wg.randn(7, 3, generator=g),
    "randn float64": lambda g: wg.randn(5, dtype=wg.float64, generator=g),
    "uniform": lambda g: wg.uniform(-2.0, 3.0, (7, 3), generator=g),
    "randint": lambda g: wg.randint(-5, 5, (7, 3), generator=g),
    "randperm": lambda g: wg.randperm(21, generator=g),
    "bernoulli": lambda g: wg.bernoulli(0.3, (7, 3), generator=g),
    "dropout": lambda g: wg.dropout(wg.ones((7, 3)), 0.4, generator=g),
}


def counter(generator=default_generator):
    return int(generator.state.tolist()[2])


# --- Reproducible ---------------------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_same_seed_gives_the_same_bits(draw):
    first, second = wg.Generator(7), wg.Generator(7)
    a, b = [array(draw(first)), array(draw(first))], [array(draw(second)), array(draw(second))]
    for x, y in zip(a, b, strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)
    assert not np.array_equal(a[0], a[1])
    assert not np.array_equal(a[0], array(draw(wg.Generator(8))))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_default_generator_is_like_any_other(draw):
    wg.manual_seed(7)
    np.testing.assert_array_equal(array(draw(None)), array(draw(wg.Generator(7))))


def test_manual_seed_starts_anew():
    assert wg.manual_seed(3) is default_generator
    first = wg.rand(4).tolist()
    wg.manual_seed(4)
    assert wg.rand(4).tolist() != first
    wg.manual_seed(3)
    assert wg.rand(4).tolist() == first


def test_bits_are_those_of_philox():
    generator = wg.Generator(11)
    key = [int(word) for word in generator.state.tolist()[:2]]
    raw = np.random.Philox(key=key, counter=0).random_raw(6)
    found = array(wg.rand(6, dtype=wg.float64, generator=generator))
    np.testing.assert_array_equal(found, (raw >> np.uint64(11)) * 2.0**-53)


@pytest.mark.parametrize("seed", [-1, 1.5, "a", None, True])
def test_seed_must_be_a_natural_number(seed):
    with pytest.raises(ValueError, match=r"a seed must be an integer of at least 0, got"):
        wg.manual_seed(seed)


def test_large_and_numpy_seeds():
    for seed in (0, 2**31, 2**64 + 5, np.int64(9)):
        assert wg.Generator(seed).state.shape == (3,)
    assert wg.Generator(np.int64(9)).state.tolist() == wg.Generator(9).state.tolist()


def test_generators_are_independent_of_each_other():
    wg.manual_seed(0)
    before = default_generator.state.tolist()
    own = wg.Generator(5)
    wg.rand(3, generator=own)
    assert default_generator.state.tolist() == before
    assert counter(own) > 0


# --- The counter ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("draw", "blocks"),
    [
        (lambda g: wg.rand(generator=g), 1),
        (lambda g: wg.rand(8, generator=g), 1),
        (lambda g: wg.rand(9, generator=g), 2),
        (lambda g: wg.rand(4, dtype=wg.float64, generator=g), 1),
        (lambda g: wg.rand(5, dtype=wg.float64, generator=g), 2),
        (lambda g: wg.rand(0, generator=g), 0),
        (lambda g: wg.randperm(9, generator=g), 3),
        (lambda g: wg.randint(0, 3, 8, generator=g), 2),
        (lambda g: wg.bernoulli(0.5, 16, generator=g), 2),
        (lambda g: wg.dropout(wg.ones(17), 0.5, generator=g), 3),
        (lambda g: wg.dropout(wg.ones(17), 0.5, training=False, generator=g), 0),
    ],
)
def test_draws_advance_the_counter_by_what_their_shape_says(draw, blocks):
    for seed in range(3):
        generator = wg.Generator(seed)
        draw(generator)
        assert counter(generator) == blocks
        draw(generator)
        assert counter(generator) == 2 * blocks


def test_draws_do_not_overlap():
    generator = wg.Generator(0)
    drawn = [wg.rand(9, generator=generator) for _ in range(20)]
    assert len(np.unique(np.stack([array(x) for x in drawn]))) == 180
    assert len(np.unique(array(wg.rand(180, generator=wg.Generator(0))))) == 180


def test_failed_draw_does_not_advance():
    generator = wg.Generator(0)
    for bad in (
        lambda: wg.rand(-1, generator=generator),
        lambda: wg.randint(3, 3, 2, generator=generator),
        lambda: wg.rand(2, dtype=wg.int64, generator=generator),
        lambda: wg.dropout(wg.ones(2), 1.5, generator=generator),
    ):
        with pytest.raises((ValueError, TypeError)):
            bad()
    assert counter(generator) == 0


# --- Plausible ------------------------------------------------------------------------------------


def fits(sample, distribution):
    """Compare the empirical distribution with `distribution` (Kolmogorov and Smirnov)."""
    x = np.sort(np.asarray(sample, np.float64).ravel())
    above = np.arange(1, x.size + 1) / x.size - distribution(x)
    largest = max(above.max(), (1 / x.size - above).max())
    return largest * np.sqrt(x.size) < 1.95  # a probability of one in a thousand, at a fixed seed


def phi(x):
    return (1 + np.vectorize(math.erf)(x / np.sqrt(2))) / 2


@pytest.mark.parametrize("dtype", [wg.float32, wg.float64])
def test_rand(dtype):
    x = array(wg.rand(N, dtype=dtype))
    assert x.dtype == dtype
    assert x.min() >= 0
    assert x.max() < 1
    assert fits(x, lambda x: x)
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.03
    assert abs(x.mean() - 0.5) < 0.01
    assert abs(x.var() - 1 / 12) < 0.002


@pytest.mark.parametrize("dtype", [wg.float32, wg.float64])
def test_randn(dtype):
    x = array(wg.randn(N, dtype=dtype))
    assert x.dtype == dtype
    assert np.isfinite(x).all()
    assert fits(x, phi)
    assert abs(x.mean()) < 0.03
    assert abs(x.std() - 1) < 0.02
    assert abs((x**3).mean()) < 0.1
    assert abs((x**4).mean() - 3) < 0.2
    halves = x.reshape(2, -1)
    assert abs(np.corrcoef(*halves)[0, 1]) < 0.03


def test_randn_of_odd_and_other_shapes():
    for shape in ((), (1,), (3,), (3, 5), (0,), (2, 0)):
        assert wg.randn(*shape).shape == shape
    assert wg.randn((2, 3)).shape == wg.rand([2, 3]).shape == (2, 3)


@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 1.0), (0.0, 5.0), (3.0, 3.0), (-2, 7), (2.0, 1.0)]
)
def test_uniform(low, high):
    x = array(wg.uniform(low, high, N))
    assert x.dtype == np.float32
    if low < high:
        assert x.min() >= low
        assert x.max() < high
        assert fits(x, lambda x: (x - low) / (high - low))
    elif low == high:
        assert (x == low).all()
    else:
        assert ((x <= low) & (x > high)).all()


def test_uniform_never_reaches_its_upper_end():
    for low, high in [(1.0, 1.0 + 2.0**-20), (100.0, 100.1), (-1e8, -1e8 + 64)]:
        x = array(wg.uniform(low, high, N))
        assert x.min() >= np.float32(low)
        assert x.max() < np.float32(high)


def test_randint():
    x = array(wg.randint(-3, 4, N))
    assert x.dtype == np.int64
    values, counts = np.unique(x, return_counts=True)
    assert values.tolist() == list(range(-3, 4))
    assert (np.abs(counts - N / 7) < 5 * np.sqrt(N / 7)).all()
    assert set(array(wg.randint(5, 6, 10)).tolist()) == {5}
    assert wg.randint(0, 3, ()).shape == ()
    with pytest.raises(ValueError, match="randint: needs low < high, got 3 and 3"):
        wg.randint(3, 3, 2)


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_randperm_is_a_permutation(n):
    x = array(wg.randperm(n))
    assert x.dtype == np.int64
    assert sorted(x.tolist()) == list(range(n))


def test_permutations_are_equally_likely():
    found = np.zeros((3, 3))
    whole = {}
    for _ in range(1200):
        p = wg.randperm(3).tolist()
        whole[tuple(p)] = whole.get(tuple(p), 0) + 1
        for place, value in enumerate(p):
            found[place, value] += 1
    assert len(whole) == 6
    assert all(140 < count < 260 for count in whole.values())
    assert (np.abs(found - 400) < 70).all()


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0, np.float64(0.5)])
def test_bernoulli(p):
    x = wg.bernoulli(p, N)
    assert x.dtype == wg.bool
    assert abs(array(x).mean() - p) < 0.015
    if p in {0.0, 1.0}:
        assert array(x).mean() == p


def test_bernoulli_of_many_probabilities():
    p = wg.tensor([0.0, 0.5, 1.0])
    x = array(wg.bernoulli(p, (1000, 3)))
    assert x.mean(axis=0)[[0, 2]].tolist() == [0.0, 1.0]
    assert 0.4 < x[:, 1].mean() < 0.6


# --- dropout --------------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [wg.float32, wg.float64])
def test_dropout_scales_what_it_keeps(p, dtype):
    x = wg.dropout(wg.full((N,), 3.0, dtype=dtype), p)
    assert x.dtype == dtype
    kept = array(x) != 0
    assert abs(kept.mean() - (1 - p)) < 0.015
    np.testing.assert_allclose(array(x)[kept], 3.0 / (1 - p), rtol=1e-6)
    assert abs(array(x).mean() - 3.0) < 0.15 / (1 - p)


def test_dropout_of_gradients_is_the_same_mask():
    x = wg.tensor(np.ones(1000), requires_grad=True)
    y = wg.dropout(x, 0.5)
    y.sum().backward()
    np.testing.assert_array_equal(array(x.grad), array(y))


def test_dropout_at_the_ends():
    x = leaf(1.0, -2.0)
    assert wg.dropout(x, 0.0) is x
    assert wg.dropout(x, 0.7, training=False) is x
    gone = wg.dropout(x, 1.0)
    assert gone.tolist() == [0.0, 0.0]
    gone.sum().backward()
    assert x.grad.tolist() == [0.0, 0.0]
    infinite = wg.tensor([np.inf, np.nan])
    assert wg.dropout(infinite, 1.0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_dropout_needs_a_probability(p):
    with pytest.raises(ValueError, match="dropout: p must be a probability between 0 and 1"):
        wg.dropout(wg.ones(2), p)


def test_dropout_with_a_probability_that_is_a_tensor():
    wg.manual_seed(1)
    by_tensor = wg.dropout(wg.ones(1000), wg.tensor(0.25))
    wg.manual_seed(1)
    np.testing.assert_allclose(array(by_tensor), array(wg.dropout(wg.ones(1000), 0.25)), rtol=1e-6)


# --- Errors and threads ---------------------------------------------------------------------------


def test_bad_shapes_and_dtypes():
    with pytest.raises((ShapeError, ValueError), match="-1"):
        wg.rand(2, -1)
    with pytest.raises((TypeError, ShapeError)):
        wg.rand(2.5)
    for draw in (wg.rand, wg.randn):
        with pytest.raises(DTypeError, match="must be float32 or float64, got int64"):
            draw(2, dtype=wg.int64)


def test_draws_have_no_gradient():
    assert not wg.rand(2).requires_grad
    state = default_generator.state.tolist()
    assert wg.grad(lambda x: wg.sum(x * wg.rand(2)))(wg.ones(2)).shape == (2,)
    assert default_generator.state.tolist() != state


def test_generators_of_different_threads_do_not_disturb_each_other():
    expected = [array(wg.rand(100, generator=wg.Generator(i))) for i in range(4)]
    found = {}

    def work(i):
        generator = wg.Generator(i)
        found[i] = np.concatenate([array(wg.rand(8, generator=generator)) for _ in range(50)])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        np.testing.assert_array_equal(found[i][:96], expected[i][:96])
