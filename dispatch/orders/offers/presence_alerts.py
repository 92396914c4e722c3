"""Alerts about a rider before the pickup: what the server observed of it, in words; pure."""

from dispatch.model import DispatchState, OfferOutcome, OfferPolicy, Order, RiderPresence
from dispatch.orders.offers.approach import is_located, silent_ms
from dispatch.orders.offers.approach_store import Approach
from dispatch.wire.events import Alert

# What a reason for which fixes were not used means to an operator.
_CAUSES = {
    "absent": "before the rider was loaded",
    "inaccurate": "too inaccurate",
    "malformed": "malformed",
    "off_globe": "not on the globe",
    "sentinel": "placeholders without a position",
    "frozen": "frozen coordinates",
    "swapped": "latitude and longitude swapped",
    "stale": "old, or with a wrong clock",
    "teleport": "impossible jumps",
    "paused": "from another phone than the active one",
}


def withdrawal_alert(
    outcome: OfferOutcome, order: Order, approach: Approach, policy: OfferPolicy
) -> Alert:
    """The alert about an order that was taken from its rider at the last check."""
    now_ms = approach.checked_at_ms
    if outcome is OfferOutcome.VANISHED:
        fact = f"nothing was received from the rider for {_seen_s(approach, now_ms)} s"
        message = f"{fact} before the pickup; the order searches again"
    else:
        fact = f"the rider came no nearer to the pickup for {policy.stall_ms // 1000} s"
        message = f"{fact}; the order searches again"
    return _alert(f"rider_{outcome.value}", message, order, now_ms)


def presence_alert(
    approach: Approach, order: Order, presence: RiderPresence, policy: OfferPolicy
) -> Alert | None:
    """The alert about a rider who keeps its order but is silent at the pickup, or cannot be placed.

    None where the rider is observed and its positions are usable.
    """
    now_ms = approach.checked_at_ms
    assert order.dispatch is not None
    if silent_ms(approach, now_ms) >= policy.vanish_ms:
        if order.dispatch.state is not DispatchState.AT_PICKUP:
            return None
        fact = f"nothing was received from the rider for {_seen_s(approach, now_ms)} s"
        message = f"{fact} at the pickup; it keeps the order"
        return _alert("rider_silent", message, order, now_ms)
    position = presence.position
    if is_located(position, now_ms, policy) or presence.last is None:
        return None
    since_s = None if position is None else (now_ms - position.received_at) // 1000
    if since_s is not None and since_s * 1000 < policy.vanish_ms:
        return None
    seen = f"the rider was seen {_seen_s(approach, now_ms)} s ago, but sent no usable position"
    lasted = "" if since_s is None else f" for {since_s} s"
    message = f"{seen}{lasted}: {_causes(presence)}; it keeps the order"
    return _alert("rider_unlocated", message, order, now_ms)


def _causes(presence: RiderPresence) -> str:
    """Why the rider's fixes were not used, most frequent first."""
    last = presence.last
    if last is None or not last.dropped:
        return "it sent no fixes"
    ordered = sorted(last.dropped.items(), key=lambda pair: (-pair[1], pair[0]))
    parts = [f"{count} fixes {_CAUSES.get(reason, reason)}" for reason, count in ordered]
    accuracy = "" if last.accuracy is None else f", the last accurate to {last.accuracy:.0f} m"
    return ", ".join(parts) + accuracy


def _seen_s(approach: Approach, now_ms: int) -> int:
    return max(0, now_ms - approach.seen_at_ms) // 1000


def _alert(kind: str, message: str, order: Order, now_ms: int) -> Alert:
    order_id, rider_id = order.order_id, order.rider_id
    return Alert(kind=kind, message=message, order_id=order_id, rider_id=rider_id, ts=now_ms)
