"""Approach of an assigned rider to the pickup, and when the order is withdrawn: pure."""

from msgspec.structs import replace

from dispatch.model import DispatchState, OfferOutcome, OfferPolicy, Order, Position
from dispatch.orders.offers.approach_store import Approach
from matching.geo import distance_m

# An assigned rider is checked this often, or four times within the policy's `vanish_ms`.
CHECK_EVERY_MS = 15_000


def check_every_ms(policy: OfferPolicy) -> int:
    """The time between two checks of an assigned rider. Units: milliseconds."""
    return min(CHECK_EVERY_MS, policy.vanish_ms // 4)


def update_approach(
    before: Approach | None,
    order: Order,
    position: Position | None,
    now_ms: int,
    policy: OfferPolicy,
) -> Approach:
    """The approach of the order's rider now; `position` is its last one, None without any.

    Accepting counts as a position. Time in which the engine did not check does not count against
    the rider: the server may have been down, and have missed its positions.

    Units: Unix milliseconds.
    """
    assert order.rider_id is not None, "only an assigned order has an approach"
    distance_to_pickup_m = None if position is None else distance_m(position, order.pickup)
    if before is None or before.rider_id != order.rider_id:
        return Approach(
            rider_id=order.rider_id,
            seen_at_ms=now_ms,
            progressed_at_ms=now_ms,
            checked_at_ms=now_ms,
            nearest_m=distance_to_pickup_m,
        )
    gap_ms = now_ms - before.checked_at_ms
    unchecked_ms = gap_ms if gap_ms > 2 * check_every_ms(policy) else 0
    after = replace(
        before,
        seen_at_ms=max(before.seen_at_ms + unchecked_ms, position.received_at if position else 0),
        progressed_at_ms=before.progressed_at_ms + unchecked_ms,
        checked_at_ms=now_ms,
    )
    if distance_to_pickup_m is None:
        return after
    if before.nearest_m is None or distance_to_pickup_m <= before.nearest_m - policy.stall_m:
        return replace(after, nearest_m=distance_to_pickup_m, progressed_at_ms=now_ms)
    return after


def withdrawal_reason(
    approach: Approach, order: Order, position: Position | None, now_ms: int, policy: OfferPolicy
) -> OfferOutcome | None:
    """Why the order is taken from its rider; None where the rider keeps it.

    A rider at the pickup, or near it, waits for the goods and has not stalled.

    Units: Unix milliseconds.
    """
    assert order.dispatch is not None
    if now_ms - approach.seen_at_ms >= policy.vanish_ms:
        return OfferOutcome.VANISHED
    if order.dispatch.state is not DispatchState.ASSIGNED or position is None:
        return None
    is_near = distance_m(position, order.pickup) <= policy.near_m
    if is_near or now_ms - approach.progressed_at_ms < policy.stall_ms:
        return None
    return OfferOutcome.STALLED
