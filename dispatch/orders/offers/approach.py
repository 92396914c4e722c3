"""Whether a rider who accepted really comes to the pickup: pure."""

from msgspec.structs import replace

from dispatch.model import DispatchState, OfferOutcome, OfferPolicy, Order, Position
from dispatch.orders.offers.approach_store import Approach
from matching.geo import distance_m

# A rider is looked at this often, or four times within the time after which he is given up.
CHECK_EVERY_MS = 15_000


def check_every_ms(policy: OfferPolicy) -> int:
    """How long the engine may look elsewhere."""
    return min(CHECK_EVERY_MS, policy.vanish_ms // 4)


def update_approach(
    before: Approach | None,
    order: Order,
    position: Position | None,
    now_ms: int,
    policy: OfferPolicy,
) -> Approach:
    """What is known of the order's rider now; `at` is his last fix, None where he has none.

    Accepting is a sign of life. Time in which nobody looked does not count against him: then the
    server was away, and his fixes may have been too.
    """
    assert order.rider_id is not None, "somebody is followed"
    away_m = None if position is None else distance_m(position, order.pickup)
    if before is None or before.rider_id != order.rider_id:
        return Approach(
            rider_id=order.rider_id,
            seen_at_ms=now_ms,
            nearer_at_ms=now_ms,
            looked_at_ms=now_ms,
            best_m=away_m,
        )
    gap_ms = now_ms - before.looked_at_ms
    unlooked_ms = gap_ms if gap_ms > 2 * check_every_ms(policy) else 0
    seen_ms = max(before.seen_at_ms + unlooked_ms, position.received_at if position else 0)
    after = replace(
        before,
        seen_at_ms=seen_ms,
        nearer_at_ms=before.nearer_at_ms + unlooked_ms,
        looked_at_ms=now_ms,
    )
    if away_m is None:
        return after
    if before.best_m is None or away_m <= before.best_m - policy.stall_m:
        return replace(after, best_m=away_m, nearer_at_ms=now_ms)
    return after


def withdrawal_reason(
    approach: Approach, order: Order, position: Position | None, now_ms: int, policy: OfferPolicy
) -> OfferOutcome | None:
    """Why the rider is given up; None where he may go on.

    Whoever stands at the pickup waits for the goods and does not stall.
    """
    assert order.dispatch is not None
    if now_ms - approach.seen_at_ms >= policy.vanish_ms:
        return OfferOutcome.VANISHED
    if order.dispatch.state is not DispatchState.ASSIGNED or position is None:
        return None
    is_near = distance_m(position, order.pickup) <= policy.near_m
    if is_near or now_ms - approach.nearer_at_ms < policy.stall_ms:
        return None
    return OfferOutcome.STALLED
