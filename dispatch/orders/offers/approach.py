"""Approach of a rider to its next stop, and when an order is withdrawn before the pickup: pure."""

from msgspec.structs import replace

from dispatch.model import (
    DispatchState,
    OfferOutcome,
    OfferPolicy,
    Order,
    Position,
    RiderPresence,
)
from dispatch.orders.offers.approach_store import Approach
from dispatch.orders.transitions.waves import is_after_pickup
from matching.geo import distance_m

# An assigned rider is checked this often, or four times within the policy's `vanish_ms`.
CHECK_EVERY_MS = 15_000
# How much later than it happened an observation of a rider may be in Redis.
# Source: `rider_state.PRESENCE_EVERY_MS`, the sweep after it (1 s) and a flush, rounded up.
PRESENCE_LAG_MS = 5_000


def check_every_ms(policy: OfferPolicy) -> int:
    """The time between two checks of an assigned rider. Units: milliseconds."""
    return min(CHECK_EVERY_MS, policy.vanish_ms // 4)


def update_approach(
    before: Approach | None,
    order: Order,
    presence: RiderPresence,
    now_ms: int,
    policy: OfferPolicy,
) -> Approach:
    """The approach of the order's rider to its next stop now.

    Accepting, or picking up, counts as an observation. Time in which the engine did not check does
    not count against the rider: the server may have been down, and have missed what it sent.
    Neither does time without a usable position count as time without progress.

    Units: Unix milliseconds.
    """
    assert order.rider_id is not None, "only an assigned order has an approach"
    position = presence.position
    stop, place = ("dropoff", order.dropoff) if is_after_pickup(order) else ("pickup", order.pickup)
    distance_to_stop_m = None if position is None else distance_m(position, place)
    if before is None or (before.rider_id, before.stop) != (order.rider_id, stop):
        return Approach(
            rider_id=order.rider_id,
            seen_at_ms=now_ms,
            progressed_at_ms=now_ms,
            checked_at_ms=now_ms,
            nearest_m=distance_to_stop_m,
            stop=stop,
        )
    gap_ms = now_ms - before.checked_at_ms
    unchecked_ms = gap_ms if gap_ms > 2 * check_every_ms(policy) else 0
    seen_at_ms = max(before.seen_at_ms + unchecked_ms, presence.seen_at)
    progressed_at_ms = before.progressed_at_ms + unchecked_ms
    if not unchecked_ms and not is_located(position, now_ms, policy):
        progressed_at_ms += gap_ms
    after = replace(
        before,
        # The clocks of the nodes differ a little.
        seen_at_ms=min(seen_at_ms, now_ms),
        progressed_at_ms=min(progressed_at_ms, now_ms),
        checked_at_ms=now_ms,
    )
    if distance_to_stop_m is None:
        return after
    if before.nearest_m is None or distance_to_stop_m <= before.nearest_m - policy.stall_m:
        return replace(after, nearest_m=distance_to_stop_m, progressed_at_ms=now_ms)
    return after


def is_located(position: Position | None, now_ms: int, policy: OfferPolicy) -> bool:
    """Whether a position is new and exact enough to show that its rider does not move.

    Units: Unix milliseconds.
    """
    if position is None or now_ms - position.received_at >= policy.vanish_ms:
        return False
    return position.accuracy is None or position.accuracy <= policy.near_m


def silent_ms(approach: Approach, now_ms: int) -> int:
    """How long nothing was received from the rider, as far as Redis can have it.

    Units: Unix milliseconds in, milliseconds out.
    """
    return max(0, now_ms - approach.seen_at_ms - PRESENCE_LAG_MS)


def withdrawal_reason(
    approach: Approach, order: Order, presence: RiderPresence, now_ms: int, policy: OfferPolicy
) -> OfferOutcome | None:
    """Why the order is taken from its rider; None where the rider keeps it.

    A rider has vanished only where the server received nothing at all from it. A rider who is at
    the pickup by its own word, or near it, waits for the goods: it has neither vanished nor
    stalled. Positions that are too old or too coarse to show a standstill show none.

    Units: Unix milliseconds.
    """
    assert order.dispatch is not None
    if order.dispatch.state is not DispatchState.ASSIGNED:
        return None
    if silent_ms(approach, now_ms) >= policy.vanish_ms:
        return OfferOutcome.VANISHED
    position = presence.position
    if position is None or not is_located(position, now_ms, policy):
        return None
    is_near = distance_m(position, order.pickup) <= policy.near_m
    if is_near or now_ms - approach.progressed_at_ms < policy.stall_ms:
        return None
    return OfferOutcome.STALLED
