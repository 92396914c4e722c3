"""State of one rider: the facts that the index gets, and its pending trail."""

import pytest

from dispatch.model import Position
from dispatch.tracking.fixes.model import AcceptedFix
from dispatch.tracking.rider_state import PENDING_TRAIL_MAX, RiderAttributes, RiderState


def position(ts: int, seq: int | None = None) -> Position:
    return Position(lat=4.05, lng=9.7, ts=ts, received_at=ts, seq=seq)


def test_facts_come_from_the_workload_and_the_attributes():
    """After a refresh the facts say what the rider carries and what is known of it."""
    rider = RiderState("rdr_1")
    rider.available, rider.orders, rider.offered_at_ms = True, ("ord_1",), (1, 2)
    rider.attributes = RiderAttributes(name="Awa", vehicle="CAR", capacity=2)
    rider.refresh_facts()
    assert (rider.facts.available, rider.facts.active, rider.facts.recent_offers) == (True, 1, 2)
    assert (rider.facts.name, rider.facts.vehicle, rider.facts.capacity) == ("Awa", "CAR", 2)


@pytest.mark.parametrize(
    ("available", "orders", "freshness", "is_indexed"),
    [
        (True, (), "stale", True),
        (False, ("ord_1",), "live", True),
        (False, (), "live", False),
        (True, ("ord_1",), "lost", False),
    ],
)
def test_indexed_are_riders_on_duty_or_busy_and_not_lost(
    *, available: bool, orders: tuple[str, ...], freshness: str, is_indexed: bool
):
    """Available or with an order, and not lost: such riders belong into the index."""
    rider = RiderState("rdr_1")
    rider.available, rider.orders = available, orders
    rider.freshness = freshness  # type: ignore[assignment]
    assert rider.is_indexed is is_indexed


def test_a_pending_trail_keeps_the_newest_fixes():
    """Above the bound the oldest fixes are dropped, and their number is returned."""
    rider = RiderState("rdr_1")
    rider.orders = ("ord_1",)
    dropped = [rider.add_to_trail(position(ts)) for ts in range(PENDING_TRAIL_MAX + 3)]
    assert sum(dropped) == 3
    assert [each.ts for _, each in rider.pending_trail] == list(range(3, PENDING_TRAIL_MAX + 3))


def test_fixes_from_before_an_assignment_are_not_in_the_orders_trail():
    """Each order gets the fixes since its own assignment."""
    rider = RiderState("rdr_1")
    rider.orders = ("ord_1", "ord_2")
    rider.assigned_at_ms = {"ord_1": 10, "ord_2": 20}
    rider.add_to_trail(position(15))
    assert rider.pending_trail == [("ord_1", position(15))]


def test_forgetting_the_sequence_number_keeps_the_position():
    """The last fix keeps time and place, and loses number and doubt."""
    rider = RiderState("rdr_1")
    rider.last_fix = rider.doubtful_fix = AcceptedFix(position(5, seq=900), 5)
    rider.forget_seq()
    assert rider.position == position(5)
    assert rider.doubtful_fix is None
