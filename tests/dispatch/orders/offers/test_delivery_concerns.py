"""Concerns about goods under way, from what the server observed of their rider."""

from collections.abc import Collection

import pytest
from msgspec.structs import replace

from dispatch.ids import RiderId
from dispatch.model import (
    DispatchState,
    OfferPolicy,
    Order,
    OrderStatus,
    Position,
    RiderPresence,
)
from dispatch.orders.offers.approach_store import Approach
from dispatch.orders.offers.delivery_concerns import concerns_of, delivery_check_every_ms
from tests.factories import BALI, an_order

POLICY = OfferPolicy()
NOW = 10_000_000
KM_PER_LAT_DEG = 111.195


def goods_under_way(*, minutes: int = 5, state: DispatchState = DispatchState.PICKED_UP) -> Order:
    order = an_order(status=OrderStatus.IN_TRANSIT, state=state)
    return replace(order, times={OrderStatus.IN_TRANSIT.value: NOW - minutes * 60_000})


def kinds(
    order: Order,
    *,
    seen_s: int = 1,
    progress_s: int = 1,
    away_km: float = 2.0,
    accuracy: float | None = 10.0,
) -> Collection[str]:
    """The concerns where the rider was seen, and came nearer, so many seconds ago."""
    approach = Approach(
        rider_id=RiderId("rdr_1"),
        seen_at_ms=NOW - seen_s * 1_000,
        progressed_at_ms=NOW - progress_s * 1_000,
        checked_at_ms=NOW,
        stop="dropoff",
    )
    position = Position(
        lat=BALI.lat + away_km / KM_PER_LAT_DEG,
        lng=BALI.lng,
        ts=NOW,
        received_at=NOW - seen_s * 1_000,
        accuracy=accuracy,
    )
    return concerns_of(approach, order, RiderPresence(position=position), POLICY).keys()


def test_goods_on_their_way_are_no_concern():
    """A rider who is seen and comes nearer raises nothing."""
    assert kinds(goods_under_way()) == set()


@pytest.mark.parametrize("state", [DispatchState.PICKED_UP, DispatchState.AT_DROPOFF])
def test_silence_is_raised_after_its_limit(state: DispatchState):
    """45 s and what Redis may lag; also of a rider who says that it is at the door."""
    assert kinds(goods_under_way(state=state), seen_s=49) == set()
    assert kinds(goods_under_way(state=state), seen_s=50) == {"goods_silent"}
    assert kinds(goods_under_way(state=state), seen_s=1_020) == {"goods_silent"}


def test_goods_that_come_no_nearer_are_raised():
    """After four minutes without progress; not near the door, at it, or by a coarse position."""
    assert kinds(goods_under_way(), progress_s=239) == set()
    assert kinds(goods_under_way(), progress_s=240) == {"goods_stalled"}
    assert kinds(goods_under_way(), progress_s=999, away_km=0.05) == set()
    assert kinds(goods_under_way(state=DispatchState.AT_DROPOFF), progress_s=999) == set()
    assert kinds(goods_under_way(), progress_s=999, accuracy=900.0) == set()


def test_goods_are_late_after_an_hour():
    """From the pickup on, also while the rider comes nearer."""
    assert kinds(goods_under_way(minutes=59)) == set()
    assert kinds(goods_under_way(minutes=60)) == {"delivery_late"}


def test_the_checks_are_as_short_as_the_limit_needs():
    """At least four within the limit for silence, and none farther apart than before the pickup."""
    assert delivery_check_every_ms(POLICY) == 11_250
    assert delivery_check_every_ms(OfferPolicy(goods_silent_ms=10_000)) == 2_500
    assert delivery_check_every_ms(OfferPolicy(goods_silent_ms=600_000)) == 15_000
