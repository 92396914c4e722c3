"""The bench of large cities: synthetic cities and the growth of a decision's duration."""

import numpy as np

from bench import scale


def test_every_order_of_a_synthetic_city_finds_a_rider():
    """In the smallest size every order gets a rider: five riders for each are enough."""
    measured = scale.measure(scale.SIZES["smoke"][0], seed=1)
    assert (measured.riders, measured.orders, measured.served) == (100, 20, 20)
    assert measured.seconds > 0


def test_larger_cities_have_the_same_density():
    """Four times the riders have four times the orders and twice the side of the city."""
    small, large = (
        scale.synthetic_city(riders, np.random.default_rng(1)) for riders in (400, 1_600)
    )
    assert len(large.orders.place) == 4 * len(small.orders.place)
    assert 1.9 < large.riders.x.max() / small.riders.x.max() < 2.1


def test_growth_is_measured_by_its_power():
    """Twice the riders in four times the time is the power of two."""
    rows = [scale.Measured(100, 20, 0.1, 20), scale.Measured(200, 40, 0.4, 40)]
    assert scale.growth_power(rows) == 2
