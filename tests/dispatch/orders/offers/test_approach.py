"""Approach of an assigned rider: progress, signs of life, and when the order is withdrawn."""

import pytest

from dispatch.ids import RiderId
from dispatch.model import DispatchState, OfferOutcome, OfferPolicy, Order, Position
from dispatch.orders.offers.approach import (
    CHECK_EVERY_MS,
    check_every_ms,
    update_approach,
    withdrawal_reason,
)
from dispatch.orders.offers.approach_store import Approach
from matching.geo import EARTH_RADIUS_M, distance_m
from tests.factories import AKWA, an_order

NOW_MS = 10_000_000
POLICY = OfferPolicy()
ASSIGNED = an_order(state=DispatchState.ASSIGNED)


def at(metres: float, received_at: int = NOW_MS) -> Position:
    """A position so many metres north of the pickup."""
    lat = AKWA.lat + metres / EARTH_RADIUS_M * 57.29577951308232
    return Position(lat=lat, lng=AKWA.lng, ts=received_at, received_at=received_at)


def an_approach(**changes: object) -> Approach:
    """An approach that has just been checked at two kilometres."""
    usual = {
        "rider_id": RiderId("rdr_1"),
        "seen_at_ms": NOW_MS,
        "progressed_at_ms": NOW_MS,
        "checked_at_ms": NOW_MS,
        "nearest_m": 2_000.0,
    }
    return Approach(**{**usual, **changes})


def updated(before: Approach | None, position: Position | None, now_ms: int) -> Approach:
    return update_approach(before, ASSIGNED, position, now_ms, POLICY)


@pytest.mark.parametrize("before", [None, an_approach(rider_id=RiderId("rdr_2"))])
def test_an_approach_begins_with_the_assignment(before: Approach | None):
    """Accepting counts as a position; a former rider's approach is forgotten."""
    began = updated(before, None, NOW_MS)

    assert began == an_approach(nearest_m=None)


def test_fifty_metres_are_progress():
    """Less is not."""
    later_ms = NOW_MS + 15_000
    progressed = updated(an_approach(), at(1_949, later_ms), later_ms)
    stayed = updated(an_approach(), at(1_951, later_ms), later_ms)

    assert (progressed.progressed_at_ms, round(progressed.nearest_m or 0)) == (later_ms, 1_949)
    assert (stayed.progressed_at_ms, stayed.nearest_m) == (NOW_MS, 2_000)
    assert stayed.seen_at_ms == progressed.seen_at_ms == later_ms


def test_time_without_a_check_does_not_count():
    """The engine was down for two minutes, and may have missed positions."""
    later_ms = NOW_MS + 120_000
    after = updated(an_approach(), None, later_ms)

    assert (after.seen_at_ms, after.progressed_at_ms) == (later_ms, later_ms)


def test_time_between_two_regular_checks_counts():
    """Thirty seconds without a position are thirty seconds."""
    after = updated(an_approach(), None, NOW_MS + 2 * CHECK_EVERY_MS)

    assert (after.seen_at_ms, after.progressed_at_ms) == (NOW_MS, NOW_MS)


@pytest.mark.parametrize(
    ("state", "metres", "unseen_ms", "stuck_ms", "outcome"),
    [
        (DispatchState.ASSIGNED, 500, 59_999, 239_999, None),
        (DispatchState.ASSIGNED, 500, 60_000, 0, OfferOutcome.VANISHED),
        (DispatchState.AT_PICKUP, 0, 60_000, 0, OfferOutcome.VANISHED),
        (DispatchState.ASSIGNED, 500, 0, 240_000, OfferOutcome.STALLED),
        (DispatchState.ASSIGNED, 99, 0, 240_000, None),
        (DispatchState.AT_PICKUP, 500, 0, 240_000, None),
    ],
)
def test_an_order_is_withdrawn_from_a_rider_who_vanished_or_stalled(
    state: DispatchState, metres: float, unseen_ms: int, stuck_ms: int, outcome: OfferOutcome | None
):
    """A minute without a position; four without progress, unless the rider is at the pickup."""
    order: Order = an_order(state=state)
    approach = an_approach(seen_at_ms=NOW_MS - unseen_ms, progressed_at_ms=NOW_MS - stuck_ms)

    assert withdrawal_reason(approach, order, at(metres), NOW_MS, POLICY) is outcome


def test_a_rider_without_a_position_has_not_stalled():
    """It may still vanish."""
    stuck = an_approach(progressed_at_ms=NOW_MS - 240_000)

    assert withdrawal_reason(stuck, ASSIGNED, None, NOW_MS, POLICY) is None


def test_a_short_limit_is_checked_more_often():
    """Four times within the time after which a rider has vanished."""
    assert check_every_ms(POLICY) == CHECK_EVERY_MS
    assert check_every_ms(OfferPolicy(vanish_ms=20_000)) == 5_000


def test_the_helper_places_riders_where_it_says():
    """Within a metre."""
    assert distance_m(at(1_000), AKWA) == pytest.approx(1_000, abs=1)
