"""Concerns about goods on their way to the customer: silent, stalled or late; pure."""

from dispatch.model import DispatchState, OfferPolicy, Order, OrderStatus, RiderPresence
from dispatch.orders.offers.approach import CHECK_EVERY_MS, is_located, silent_ms
from dispatch.orders.offers.approach_store import Approach
from matching.geo import distance_m


def delivery_check_every_ms(policy: OfferPolicy) -> int:
    """The time between two checks of goods under way. Units: milliseconds."""
    return min(CHECK_EVERY_MS, policy.goods_silent_ms // 4)


def concerns_of(
    approach: Approach, order: Order, presence: RiderPresence, policy: OfferPolicy
) -> dict[str, str]:
    """What worries at this check, by the kind of its alert, with a message for operators."""
    now_ms = approach.checked_at_ms
    found: dict[str, str] = {}
    if silent_ms(approach, now_ms) >= policy.goods_silent_ms:
        silent_s = (now_ms - approach.seen_at_ms) // 1000
        fact = f"nothing was received from the rider for {silent_s} s"
        found["goods_silent"] = f"{fact}; it has the goods"
    elif _has_stalled(approach, order, presence, policy):
        stalled_s = (now_ms - approach.progressed_at_ms) // 1000
        found["goods_stalled"] = f"the goods came no nearer to the customer for {stalled_s} s"
    picked_up_ms = order.times.get(OrderStatus.IN_TRANSIT.value, now_ms)
    if now_ms - picked_up_ms >= policy.late_ms:
        minutes = (now_ms - picked_up_ms) // 60_000
        found["delivery_late"] = f"the goods were picked up {minutes} minutes ago"
    return found


def _has_stalled(
    approach: Approach, order: Order, presence: RiderPresence, policy: OfferPolicy
) -> bool:
    """Whether usable positions show no progress; a rider at or near the door waits there."""
    assert order.dispatch is not None
    position, now_ms = presence.position, approach.checked_at_ms
    if order.dispatch.state is not DispatchState.PICKED_UP or position is None:
        return False
    if not is_located(position, now_ms, policy):
        return False
    is_near = distance_m(position, order.dropoff) <= policy.near_m
    return not is_near and now_ms - approach.progressed_at_ms >= policy.stall_ms
