"""Alerts about riders before the pickup say what the server observed."""

import pytest

from dispatch.ids import RiderId
from dispatch.model import (
    DispatchState,
    OfferOutcome,
    OfferPolicy,
    Position,
    Presence,
    RiderPresence,
)
from dispatch.orders.offers.approach_store import Approach
from dispatch.orders.offers.presence_alerts import presence_alert, withdrawal_alert
from tests.factories import an_order

NOW_MS = 10_000_000
POLICY = OfferPolicy()


def an_approach(seen_s: int) -> Approach:
    """The approach of a rider who was last observed so many seconds ago."""
    return Approach(
        rider_id=RiderId("rdr_1"),
        seen_at_ms=NOW_MS - seen_s * 1_000,
        progressed_at_ms=NOW_MS,
        checked_at_ms=NOW_MS,
    )


def a_presence(
    located_s: int | None, accuracy: float | None = None, **dropped: int
) -> RiderPresence:
    """A rider with a position of so many seconds ago, and fixes that were dropped since."""
    received_ms = NOW_MS - (located_s or 0) * 1_000
    position = Position(lat=4, lng=9, ts=1, received_at=received_ms)
    last = Presence(seen_at=NOW_MS, dropped=dropped, accuracy=accuracy)
    return RiderPresence(position=None if located_s is None else position, last=last)


VANISHED = (
    "nothing was received from the rider for 71 s before the pickup; the order searches again"
)
STALLED = "the rider came no nearer to the pickup for 240 s; the order searches again"
SILENT = "nothing was received from the rider for 71 s at the pickup; it keeps the order"
COARSE = (
    "the rider was seen 2 s ago, but sent no usable position for 64 s: 17 fixes too inaccurate,"
    " 1 fixes old, or with a wrong clock, the last accurate to 900 m; it keeps the order"
)
NO_FIXES = (
    "the rider was seen 3 s ago, but sent no usable position: it sent no fixes; it keeps the order"
)


@pytest.mark.parametrize(
    ("outcome", "message"), [(OfferOutcome.VANISHED, VANISHED), (OfferOutcome.STALLED, STALLED)]
)
def test_a_withdrawal_is_explained(outcome: OfferOutcome, message: str):
    """The alert has the measured silence, or the limit of the policy."""
    alert = withdrawal_alert(outcome, an_order(), an_approach(71), POLICY)

    assert (alert.kind, alert.message) == (f"rider_{outcome.value}", message)


@pytest.mark.parametrize(
    ("seen_s", "presence", "kind", "message"),
    [
        (71, a_presence(71), "rider_silent", SILENT),
        (2, a_presence(64, 900.0, inaccurate=17, stale=1), "rider_unlocated", COARSE),
        (3, a_presence(None), "rider_unlocated", NO_FIXES),
        (3, a_presence(59), None, None),
        (59, a_presence(1), None, None),
        (3, RiderPresence(), None, None),
    ],
)
def test_a_rider_who_keeps_the_order_is_reported(
    seen_s: int, presence: RiderPresence, kind: str | None, message: str | None
):
    """A silent rider at the pickup, and one whose fixes cannot be used; no other."""
    order = an_order(state=DispatchState.AT_PICKUP)
    alert = presence_alert(an_approach(seen_s), order, presence, POLICY)

    assert (alert and alert.kind, alert and alert.message) == (kind, message)


def test_a_silent_rider_on_the_way_is_not_reported_twice():
    """Its order is withdrawn, and that alert says it."""
    order = an_order(state=DispatchState.ASSIGNED)

    assert presence_alert(an_approach(71), order, a_presence(71), POLICY) is None
