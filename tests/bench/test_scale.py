"""The bench of large cities runs, and measures what it says; never how fast."""

import numpy as np

from bench import scale


def test_every_order_of_a_synthetic_city_finds_a_rider():
    """The smallest size is decided whole: five riders an order are enough."""
    measured = scale.measure(scale.SIZES["smoke"][0], seed=1)
    assert (measured.riders, measured.orders, measured.served) == (100, 20, 20)
    assert measured.seconds > 0


def test_larger_cities_are_as_dense():
    """Four times the riders live on four times the ground, so that only size differs."""
    small, large = (
        scale.synthetic_city(riders, np.random.default_rng(1)) for riders in (400, 1_600)
    )
    assert len(large.orders.place) == 4 * len(small.orders.place)
    assert 1.9 < large.riders.x.max() / small.riders.x.max() < 2.1


def test_growth_is_told_by_its_power():
    """Twice the riders in four times the time is a square."""
    rows = [scale.Measured(100, 20, 0.1, 20), scale.Measured(200, 40, 0.4, 40)]
    assert scale.growth_power(rows) == 2
