"""Which command fits which state, and what it does: pure, decided from order and time alone.

Step 2 of an order's way: orders.flow loads -> [here] decides -> orders.flow writes.
"""

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.model import Dispatch, DispatchState, Order, OrderStatus
from dispatch.orders.transitions import lifecycle, offers, timeouts
from dispatch.orders.transitions.context import Actor, Ask, Step

S = OrderStatus
D = DispatchState


class Rule(NamedTuple):
    """Who may ask, in which states, and what then happens."""

    audiences: frozenset[str]
    statuses: frozenset[OrderStatus]
    dispatch: frozenset[DispatchState] | None
    apply: Callable[[Order, Ask], Step]


def decide(order: Order, ask: Ask) -> Step:
    """Decide one command.

    Errors: Refused with NOT_FOUND where the order is not the actor's, WRONG_STATE where the command
    does not fit the order's state, OFFER_TAKEN and OFFER_EXPIRED for offers.
    """
    rule = TRANSITIONS[ask.name]
    if ask.actor.audience not in rule.audiences or not _concerns(order, ask.actor, ask.name):
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order.order_id} of yours")
    state = order.dispatch.state if order.dispatch else None
    fits = rule.dispatch is None or state in rule.dispatch
    if order.status not in rule.statuses or not fits:
        where = order.status.value + (f" / {state.value}" if state else "")
        raise Refused(Refusal.WRONG_STATE, f"{ask.name} does not fit an order that is {where}")
    step = rule.apply(order, ask)
    if step.order is order:
        return step
    return replace(step, order=_stamped(order, step.order, ask.now_ms))


def _concerns(order: Order, actor: Actor, name: str) -> bool:
    if actor.audience == "user":
        return order.user_id == actor.id
    if actor.audience == "vendor":
        return order.vendor_id == actor.id
    if actor.audience == "rider":
        return _concerns_rider(order.dispatch, actor.id, name)
    return actor.audience in ("ops", "engine")


def _concerns_rider(dispatch: Dispatch | None, rider: str, name: str) -> bool:
    if dispatch is None:
        return False
    if name in ("accept_delivery", "decline_delivery"):
        return rider in dispatch.offers or rider in dispatch.asked or rider == dispatch.rider_id
    return rider == dispatch.rider_id


def _stamped(before: Order, after: Order, now_ms: int) -> Order:
    assert after.version == before.version, "the version is counted here alone"
    times = after.times
    if after.status != before.status:
        times = {**times, after.status.value: now_ms}
    return replace(after, version=before.version + 1, updated_at=now_ms, times=times)


_USER, _VENDOR, _RIDER = frozenset({"user"}), frozenset({"vendor"}), frozenset({"rider"})
_ENGINE, _OPS = frozenset({"engine"}), frozenset({"ops"})
_PENDING = frozenset({S.PENDING})
# A parcel is searched for while PENDING, goods from ACCEPTED on.
_OPEN = frozenset({S.PENDING, S.ACCEPTED, S.PREPARING, S.READY})
_ALIVE = frozenset(S) - {S.REJECTED, S.CANCELLED}
_DONE = frozenset({S.DELIVERED, S.FUNDS_DISTRIBUTED})
_WAY = frozenset({S.IN_TRANSIT})
_UNASSIGNED = frozenset({D.SEARCHING, D.EXHAUSTED})
_COMING = frozenset({D.ASSIGNED, D.AT_PICKUP})
_CARRYING = frozenset({D.PICKED_UP, D.AT_DROPOFF})

# Source: wire contract, order states.
TRANSITIONS: dict[str, Rule] = {
    "place_order": Rule(_USER, _PENDING, None, lifecycle.place_order),
    "payment_confirmed": Rule(_ENGINE, _ALIVE, None, lifecycle.payment_confirmed),
    "payment_failed": Rule(_ENGINE, _PENDING, None, timeouts.payment_failed),
    "lapse_order": Rule(_ENGINE, _PENDING, None, timeouts.lapse_order),
    "accept_order": Rule(_VENDOR, _PENDING, None, lifecycle.accept_order),
    "reject_order": Rule(_VENDOR, _PENDING, None, lifecycle.reject_order),
    "order_preparing": Rule(_VENDOR, frozenset({S.ACCEPTED}), None, lifecycle.order_preparing),
    "order_ready": Rule(_VENDOR, frozenset({S.ACCEPTED, S.PREPARING}), None, lifecycle.order_ready),
    "make_offers": Rule(_ENGINE, _OPEN, _UNASSIGNED | {D.OFFERED}, offers.make_offers),
    "lapse_offers": Rule(_ENGINE, _OPEN, frozenset({D.OFFERED}), offers.lapse_offers),
    "exhaust_search": Rule(_ENGINE, _OPEN, frozenset({D.SEARCHING}), offers.exhaust_search),
    "accept_delivery": Rule(_RIDER, _ALIVE, None, offers.accept_delivery),
    "decline_delivery": Rule(_RIDER, _ALIVE, None, offers.decline_delivery),
    "release_delivery": Rule(_RIDER, _OPEN, _COMING, offers.release_delivery),
    "withdraw_delivery": Rule(_ENGINE, _OPEN, _COMING, offers.withdraw_delivery),
    "reassign": Rule(_OPS, _OPEN, _COMING | _UNASSIGNED, offers.reassign),
    "arrived_pickup": Rule(_RIDER, _OPEN, frozenset({D.ASSIGNED}), lifecycle.arrived_pickup),
    "note_arrival": Rule(
        _ENGINE, _OPEN | _WAY, frozenset({D.ASSIGNED, D.PICKED_UP}), lifecycle.note_arrival
    ),
    "pick_up": Rule(_RIDER, _OPEN, _COMING, lifecycle.pick_up),
    "arrived_dropoff": Rule(_RIDER, _WAY, frozenset({D.PICKED_UP}), lifecycle.arrived_dropoff),
    "complete_delivery": Rule(_RIDER, _WAY, _CARRYING, lifecycle.complete_delivery),
    "settle": Rule(_ENGINE, _DONE, None, lifecycle.settle),
    "cancel_order": Rule(_USER | _OPS, _OPEN | _WAY, None, lifecycle.cancel_order),
    "rate_order": Rule(_USER, _DONE, None, lifecycle.rate_order),
}
