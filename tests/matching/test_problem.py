"""Which rider may carry which order, one at a time and for many at once."""

import numpy as np
import pytest

from matching.problem import NO_ZONE, PlannedTrip, Stop, exclusion_reason, may_carry
from tests.matching_problems import order, problem, rider


@pytest.mark.parametrize(
    ("of_rider", "of_order", "reason"),
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
def test_an_exclusion_has_its_reason(of_rider, of_order, reason):
    """Each rule that excludes a rider has its name, and both functions agree."""
    facts = problem([rider(0, **of_rider)], [order(0, 10, **of_order)], [(0.0, 0.0)])
    assert exclusion_reason(facts, 0, 0) == reason
    assert may_carry(facts, np.array([0]), 0).tolist() == [reason is None]


def test_a_blocked_rider_is_excluded_first():
    """A blocked pair has the reason "blocked", whatever else excludes it."""
    facts = problem(
        [rider(0, capacity=0), rider(1)], [order(0, 10)], [(0.0, 0.0)], blocked={0: {0}}
    )
    assert exclusion_reason(facts, 0, 0) == "blocked"
    assert may_carry(facts, np.array([1, 0]), 0).tolist() == [True, False]


def test_the_orders_of_a_trip_are_in_the_sequence_of_their_drop_offs():
    """Orders picked up as 4, 2 and dropped off as 2, 4 are 2, 4."""
    stops = (Stop(4, is_pickup=True), Stop(2, is_pickup=True), Stop(2, is_pickup=False),
             Stop(4, is_pickup=False))  # fmt: skip
    assert PlannedTrip(0, stops, 0.0, is_firm=True, terms={}).orders == (2, 4)
