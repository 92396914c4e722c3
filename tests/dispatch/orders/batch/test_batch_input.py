"""Input of a batch decision: units of its minutes and speeds, and which orders it decides."""

import pytest
from msgspec.structs import replace

from dispatch.ids import RiderId
from dispatch.model import DispatchState
from dispatch.orders.batch.batch_input import is_undecided, pickup_place_of
from ledger.core.pricing import Service
from matching.eta import DETOUR_DEFAULT
from tests.dispatch.orders.batch.batch_scenario import (
    NOW_MS,
    PICKUP,
    a_batch_input,
    a_ready_order,
    a_rider,
)
from tests.factories import an_offer

BATCHED: frozenset[Service] = frozenset({"FOOD"})


def test_speeds_are_metres_a_minute_along_the_straight_line():
    """The learned street speed is reduced by the detour; an unknown vehicle has the usual speed."""
    given = a_batch_input([], [])

    assert given.speed_m_per_minute(a_rider("r")) == pytest.approx(7.3 * 60 / DETOUR_DEFAULT)
    assert given.speed_m_per_minute(a_rider("r", vehicle="FOOT")) == pytest.approx(
        1.3 * 60 / DETOUR_DEFAULT
    )
    assert given.speed_m_per_minute(a_rider("r", vehicle="TRAM")) == pytest.approx(
        7.3 * 60 / DETOUR_DEFAULT
    )


def test_ready_goods_are_ready_in_the_past():
    """Times are minutes from now, before it negative."""
    order = a_ready_order("o", times={"ACCEPTED": NOW_MS - 600_000, "READY": NOW_MS - 120_000})

    assert a_batch_input([], []).ready_minutes(order) == pytest.approx(-2)


def test_orders_of_one_pickup_share_a_place():
    """Less than a tenth of a metre apart is the same place."""
    moved = replace(PICKUP, lat=PICKUP.lat + 2e-7)

    assert pickup_place_of(a_ready_order("o", pickup=moved)) == pickup_place_of(a_ready_order("p"))


def test_a_batch_decides_searching_orders_of_its_services():
    """Not those with an open offer, a rider, a wanted rider, or another service's."""
    searching = a_ready_order("o")
    assert searching.dispatch is not None
    wanted = replace(searching.dispatch, wanted=RiderId("rdr_9"))
    others = [
        a_ready_order("o", DispatchState.OFFERED, offers={"r": an_offer()}),
        a_ready_order("o", DispatchState.ASSIGNED),
        a_ready_order("o", order_type="MART"),
        replace(searching, dispatch=wanted),
        replace(searching, dispatch=None),
    ]

    assert is_undecided(searching, BATCHED)
    assert [is_undecided(order, BATCHED) for order in others] == [False] * 5
