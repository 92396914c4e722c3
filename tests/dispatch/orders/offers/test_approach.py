"""Approach of an assigned rider: progress, signs of life, and when the order is withdrawn."""

import pytest

from dispatch.ids import RiderId
from dispatch.model import (
    DispatchState,
    OfferOutcome,
    OfferPolicy,
    Order,
    Position,
    Presence,
    RiderPresence,
)
from dispatch.orders.offers.approach import (
    CHECK_EVERY_MS,
    PRESENCE_LAG_MS,
    check_every_ms,
    update_approach,
    withdrawal_reason,
)
from dispatch.orders.offers.approach_store import Approach
from matching.geo import EARTH_RADIUS_M, distance_m
from tests.factories import AKWA, an_order

NOW_MS = 10_000_000
POLICY = OfferPolicy()
SILENT_MS = POLICY.vanish_ms + PRESENCE_LAG_MS
ASSIGNED = an_order(state=DispatchState.ASSIGNED)


def at(metres: float, received_at: int = NOW_MS, accuracy: float | None = None) -> RiderPresence:
    """A rider whose last position is so many metres north of the pickup."""
    lat = AKWA.lat + metres / EARTH_RADIUS_M * 57.29577951308232
    return RiderPresence(
        position=Position(
            lat=lat, lng=AKWA.lng, ts=received_at, received_at=received_at, accuracy=accuracy
        )
    )


def seen(at_ms: int, before: RiderPresence | None = None) -> RiderPresence:
    """A rider who has sent something else than a position since `before`."""
    return RiderPresence(position=before.position if before else None, last=Presence(seen_at=at_ms))


NOTHING = RiderPresence()


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


def updated(before: Approach | None, presence: RiderPresence, now_ms: int) -> Approach:
    return update_approach(before, ASSIGNED, presence, now_ms, POLICY)


@pytest.mark.parametrize("before", [None, an_approach(rider_id=RiderId("rdr_2"))])
def test_an_approach_begins_with_the_assignment(before: Approach | None):
    """Accepting counts as a position; a former rider's approach is forgotten."""
    began = updated(before, NOTHING, NOW_MS)

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
    after = updated(an_approach(), NOTHING, later_ms)

    assert (after.seen_at_ms, after.progressed_at_ms) == (later_ms, later_ms)


def test_time_between_two_regular_checks_counts():
    """Thirty seconds without a position are thirty seconds."""
    after = updated(an_approach(), at(1_990), NOW_MS + 2 * CHECK_EVERY_MS)

    assert (after.seen_at_ms, after.progressed_at_ms) == (NOW_MS, NOW_MS)


@pytest.mark.parametrize(
    ("presence", "progressed_at_ms"),
    [
        (NOTHING, NOW_MS + 15_000),
        (seen(NOW_MS + 14_000), NOW_MS + 15_000),
        (at(1_990, NOW_MS + 14_000, 101.0), NOW_MS + 15_000),
        (at(1_990, NOW_MS - 46_000), NOW_MS + 15_000),
        (at(1_990, NOW_MS + 14_000, 99.0), NOW_MS),
    ],
)
def test_only_a_usable_position_shows_a_standstill(presence: RiderPresence, progressed_at_ms: int):
    """Without one, or with one that is a minute old or coarse, no time counts as standing."""
    assert updated(an_approach(), presence, NOW_MS + 15_000).progressed_at_ms == progressed_at_ms


@pytest.mark.parametrize("seen_ms", [NOW_MS + 14_000, NOW_MS + 15_900])
def test_anything_that_was_received_counts(seen_ms: int):
    """A ping's answer or a dropped fix shows that the rider is there, by the server's clock."""
    after = updated(an_approach(), seen(seen_ms, at(1_990)), NOW_MS + 15_000)

    assert after.seen_at_ms == min(seen_ms, NOW_MS + 15_000)


@pytest.mark.parametrize(
    ("state", "metres", "unseen_ms", "stuck_ms", "outcome"),
    [
        (DispatchState.ASSIGNED, 500, SILENT_MS - 1, 239_999, None),
        (DispatchState.ASSIGNED, 500, SILENT_MS, 0, OfferOutcome.VANISHED),
        (DispatchState.ASSIGNED, 0, SILENT_MS, 0, OfferOutcome.VANISHED),
        (DispatchState.AT_PICKUP, 0, SILENT_MS, 0, None),
        (DispatchState.AT_PICKUP, 500, 3_600_000, 3_600_000, None),
        (DispatchState.ASSIGNED, 500, 0, 240_000, OfferOutcome.STALLED),
        (DispatchState.ASSIGNED, 99, 0, 240_000, None),
        (DispatchState.AT_PICKUP, 500, 0, 240_000, None),
    ],
)
def test_an_order_is_withdrawn_from_a_rider_who_vanished_or_stalled(
    state: DispatchState, metres: float, unseen_ms: int, stuck_ms: int, outcome: OfferOutcome | None
):
    """A minute of silence, or four without progress, on the way; never at the pickup."""
    order: Order = an_order(state=state)
    approach = an_approach(seen_at_ms=NOW_MS - unseen_ms, progressed_at_ms=NOW_MS - stuck_ms)

    assert withdrawal_reason(approach, order, at(metres), NOW_MS, POLICY) is outcome


def test_a_rider_without_a_position_has_not_stalled():
    """It may still vanish."""
    stuck = an_approach(progressed_at_ms=NOW_MS - 240_000)

    assert withdrawal_reason(stuck, ASSIGNED, NOTHING, NOW_MS, POLICY) is None


@pytest.mark.parametrize(
    "presence", [at(500, NOW_MS - 60_000), at(500, NOW_MS, 101.0), seen(NOW_MS, at(500, 1))]
)
def test_a_rider_with_unusable_positions_has_not_stalled(presence: RiderPresence):
    """Old and coarse positions cost no rider its order."""
    stuck = an_approach(progressed_at_ms=NOW_MS - 3_600_000)

    assert withdrawal_reason(stuck, ASSIGNED, presence, NOW_MS, POLICY) is None


def test_a_short_limit_is_checked_more_often():
    """Four times within the time after which a rider has vanished."""
    assert check_every_ms(POLICY) == CHECK_EVERY_MS
    assert check_every_ms(OfferPolicy(vanish_ms=20_000)) == 5_000


def test_the_helper_places_riders_where_it_says():
    """Within a metre."""
    position = at(1_000).position
    assert position is not None
    assert distance_m(position, AKWA) == pytest.approx(1_000, abs=1)
