"""Riders of a batch: who takes part, and where and when each is free."""

from typing import Any

import pytest

from dispatch.ids import RiderId
from dispatch.model import DispatchState
from dispatch.orders.batch.plane import PlaneProjection
from dispatch.orders.batch.rider_rows import (
    SOONEST_FREE_MINUTES,
    ExcludedRider,
    RiderRow,
    RiderRows,
)
from dispatch.tracking.stores.rider_facts import IndexedRider
from matching.problem import Rules
from tests.dispatch.orders.batch.batch_scenario import (
    NOW_MS,
    PICKUP,
    a_batch_input,
    a_ready_order,
    a_rider,
)
from tests.factories import an_offer

RULES = Rules()


def rows_of(*arguments: Any, **fields: Any) -> tuple[list[RiderRow], list[ExcludedRider]]:
    """Rows and excluded riders, with the pickup as the plane's origin."""
    return RiderRows(a_batch_input(*arguments, **fields), PlaneProjection([PICKUP]), RULES).build()


def test_a_free_rider_is_free_now_where_it_is():
    """Without an order there are no stops, and nothing to wait for."""
    [row], excluded = rows_of([a_ready_order("o")], [a_rider("r", 3)])
    speed = a_batch_input([], []).speed_m_per_minute(row.rider)

    assert (row.free_at, row.stops, excluded) == (0.0, (), [])
    assert row.free_point == pytest.approx((0, 3 * speed))


def test_a_rider_with_goods_is_free_at_the_dropoff():
    """Four minutes from the customer, and two for the handover on either side."""
    carried = a_ready_order("c", DispatchState.PICKED_UP, rider="r")
    [row], _ = rows_of([carried], [a_rider("r", 6, active=1)])

    assert row.free_at == pytest.approx(4 + 2 + 2)
    assert row.stops == ()


def test_a_rider_who_should_be_done_is_free_after_a_minute():
    """A rider cannot be counted on before it has reported the delivery."""
    carried = a_ready_order("c", DispatchState.AT_DROPOFF, rider="r", dropoff=PICKUP)
    [row], _ = rows_of([carried], [a_rider("r", 0, active=1)])

    assert row.free_at >= SOONEST_FREE_MINUTES


def test_an_assigned_rider_is_committed_to_pickup_and_dropoff():
    """Three minutes to the pickup, at the dropoff at 17, free at 21."""
    assigned = a_ready_order("h", DispatchState.ASSIGNED, rider="r")
    [row], _ = rows_of([assigned], [a_rider("r", 3, active=1)])

    assert row.stops == [(assigned, True), (assigned, False)]
    assert row.arrives_at == pytest.approx(3)
    assert row.free_at == pytest.approx(21)


def test_a_rider_at_the_pickup_has_arrived():
    """The dispatch state counts, not the last position."""
    waiting = a_ready_order("h", DispatchState.AT_PICKUP, rider="r")
    [row], _ = rows_of([waiting], [a_rider("r", 3, active=1)])

    assert row.arrives_at == 0


def test_a_rider_with_an_open_offer_is_committed_to_it():
    """Until it answers, the offered order counts as accepted."""
    offered = a_ready_order("o", DispatchState.OFFERED, offers={"r": an_offer()})
    [row], _ = rows_of([offered], [a_rider("r", 3)], offer_holds={"r": "o"})

    assert [stop.order.order_id for stop in row.stops] == ["o", "o"]


@pytest.mark.parametrize(
    ("rider", "fields", "reason"),
    [
        (a_rider("r", available=False), {}, "off duty"),
        (a_rider("r", seen_at_ms=NOW_MS - 20_000), {}, "last fix 20 s old"),
        (a_rider("r"), {"paused": {"r": NOW_MS + 1}}, "paused: left offers unread"),
        (a_rider("r", active=1), {}, "carries another order"),
        (a_rider("r"), {"offer_holds": {"r": ""}}, "carries another order"),
        (a_rider("r"), {"offer_holds": {"r": "elsewhere"}}, "holds another offer"),
    ],
)
def test_an_excluded_rider_is_no_row_and_has_a_reason(
    rider: IndexedRider, fields: dict[str, Any], reason: str
):
    """Each condition that keeps a rider out is named."""
    rows, excluded = rows_of([a_ready_order("o")], [rider], **fields)

    assert rows == []
    assert excluded == [ExcludedRider(rider, reason)]
    assert excluded[0].rider.rider_id == RiderId("r")
