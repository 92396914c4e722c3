"""Riders around a pickup are found by cells."""

import numpy as np
import pytest

from matching.nearby import RiderGrid
from matching.problem import NO_ZONE, exclusion_reason, may_carry
from tests.matching_problems import order, problem, rider


@pytest.mark.parametrize("count", [1, 5, 40, 2_000])
def test_the_nearest_are_among_those_around(count):
    """Whatever the cells look like, the nearest riders are found, and as many as asked for."""
    rng = np.random.default_rng(7)
    x, y = rng.normal(0, 9_000, 2_000), rng.normal(0, 4_000, 2_000)
    grid = RiderGrid(x, y)
    for east, north in rng.normal(0, 9_000, (20, 2)).tolist():
        found = grid.riders_around(east, north, count)
        nearest = np.argsort(np.hypot(x - east, y - north))[:count]
        assert len(found) >= count
        assert len(set(found.tolist())) == len(found)
        # The corners of the last ring are farther than its sides: a few may be missed.
        assert len(np.intersect1d(found, nearest)) >= 0.9 * count


def test_nobody_around_is_nobody():
    """An empty city has no riders, and a far pickup finds all there are."""
    nobody = np.zeros(0)
    assert not len(RiderGrid(nobody, nobody).riders_around(0.0, 0.0, 5))
    assert RiderGrid(np.zeros(2), np.zeros(2)).riders_around(90_000.0, 0.0, 5).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("who", "what", "bar"),
    [
        ({}, {}, None),
        ({"vehicle": 2}, {"vehicles": 5}, "vehicle"),
        ({"zone": 1}, {"zone": 2}, "zone"),
        ({"zone": 1}, {"zone": NO_ZONE}, None),
        ({"kg": 2.0}, {"kg": 2.5}, "weight"),
        ({"cash": 100.0}, {"cash": 101.0}, "cash limit"),
        ({"capacity": 0}, {}, "capacity"),
    ],
)
def test_why_a_rider_may_not_carry_an_order(who, what, bar):
    """Each bar has a name, for whoever asks why."""
    facts = problem([rider(0, **who)], [order(0, 10, **what)], [(0.0, 0.0)])
    assert exclusion_reason(facts, 0, 0) == bar
    assert may_carry(facts, np.array([0]), 0).tolist() == [bar is None]
    blocked = facts._replace(blocked={0: {0}})
    assert exclusion_reason(blocked, 0, 0) == "blocked"
