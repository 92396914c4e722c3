"""Candidate riders are found by grid cells."""

import numpy as np
import pytest

from matching.cost import Costs, Weights
from matching.nearby import NEARBY_MAX, RiderGrid, nearby_riders
from tests.matching_problems import committed_rider, order, problem, rider


@pytest.mark.parametrize("count", [1, 5, 40, 2_000])
def test_the_nearest_riders_are_among_those_around(count):
    """At least `count` riders are found, none twice, and nine tenths of the nearest are there."""
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


def test_an_empty_grid_finds_no_riders():
    """An empty grid finds no riders; a far point finds all riders where there are few."""
    empty = np.zeros(0)
    assert not len(RiderGrid(empty, empty).riders_around(0.0, 0.0, 5))
    assert RiderGrid(np.zeros(2), np.zeros(2)).riders_around(90_000.0, 0.0, 5).tolist() == [0, 1]


def test_an_order_has_at_most_nearby_max_candidates():
    """Of 40 riders in a row the NEARBY_MAX nearest to the pickup are the order's candidates."""
    facts = problem([rider(at) for at in range(40)], [order(0, 5)], [(0.0, 0.0)])
    assert nearby_riders(facts, Costs(facts, Weights())) == {0: list(range(NEARBY_MAX))}


def test_excluded_and_late_riders_are_no_candidates():
    """A rider who may not carry the order, and one whose shift ends too early, are left out."""
    facts = problem([rider(1, kg=0.5), rider(2, until=1.0), rider(3)], [order(0, 5)], [(0.0, 0.0)])
    assert nearby_riders(facts, Costs(facts, Weights())) == {0: [2]}


def test_a_rider_under_way_to_the_place_is_always_a_candidate():
    """A rider far behind 20 others is a candidate, because it is under way to the order's place."""
    riders = [*(rider(1) for _ in range(20)), rider(500, free_at=600.0)]
    facts = problem(
        riders,
        [order(0, 5), order(0, 6)],
        [(0.0, 0.0)],
        committed=(committed_rider(20, [0], 500.0),),
    )
    assert 20 in nearby_riders(facts, Costs(facts, Weights()))[1]
