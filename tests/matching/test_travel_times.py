"""Travel times between riders, places and drop-offs, against hand-computed values."""

import pytest

from matching.problem import Rules
from matching.travel_times import TravelTimes, to_order_lists
from tests.matching_problems import order, problem, rider

# Places at (0, 0) and (3, 4); their drop-offs at (3, 0) and (3, 12); one rider at (0, 4).
FACTS = problem(
    [rider(0, 4)],
    [order(0, 3, 0), order(1, 3, 12)],
    [(0.0, 0.0), (3.0, 4.0)],
    rules=Rules(),
)


def times(speed: float = 1.0, *, is_rounded: bool = False) -> TravelTimes:
    facts = FACTS._replace(rules=Rules(rounds_up_minutes=is_rounded))
    return TravelTimes(facts, to_order_lists(FACTS.orders), speed)


def test_travel_times_are_distances_over_speed():
    """At 2 m a minute every pair of points takes half of its distance."""
    found = times(speed=2.0)
    assert found.place_to_drop == [1.5, 4.0]
    assert found.from_rider(0) == [2.0, 1.5]
    assert found.from_place(0) == [0.0, 2.5]
    assert found.between_drops(0, 1) == found.between_drops(1, 0) == 6.0
    assert found.to_drop(1, 0) == found.drop_to_places[0][1] == 2.0


def test_travel_times_are_rounded_up_where_the_rules_say_so():
    """3 m at 2 m a minute are 2 whole minutes; a whole number is not rounded up by its noise."""
    found = times(speed=2.0, is_rounded=True)
    assert found.place_to_drop == [2.0, 4.0]
    assert found.between_drops(0, 1) == 6.0
    assert times(speed=0.1, is_rounded=True).place_to_drop[0] == 30.0


def test_a_rider_without_speed_fails():
    """A speed of zero fails an assertion."""
    with pytest.raises(AssertionError):
        times(speed=0.0)


def test_order_lists_have_the_columns_as_plain_numbers():
    """Every column is a list of Python numbers, in the orders' sequence."""
    lists = to_order_lists(FACTS.orders)
    assert (lists.place, lists.x, lists.y) == ([0, 1], [3.0, 3.0], [0.0, 12.0])
    assert all(type(value) is bool for value in lists.may_share)
