"""Which command fits which state, and what it does: pure, decided from order and time alone.

Step 2 of an order's way: orders.flow loads -> [here] decides -> orders.flow writes.
"""

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.model import Dispatch, DispatchState, Order, OrderStatus
from dispatch.orders.transitions import lifecycle, offers, timeouts
from dispatch.orders.transitions.context import Actor, Transition, TransitionRequest

S = OrderStatus
D = DispatchState


class TransitionRule(NamedTuple):
    """Who may ask, in which states, and what then happens."""

    audiences: frozenset[str]
    statuses: frozenset[OrderStatus]
    dispatch_states: frozenset[DispatchState] | None
    apply: Callable[[Order, TransitionRequest], Transition]


def decide_transition(order: Order, request: TransitionRequest) -> Transition:
    """Decide one command.

    Errors: Refused with NOT_FOUND where the order is not the actor's, WRONG_STATE where the command
    does not fit the order's state, OFFER_TAKEN and OFFER_EXPIRED for offers.
    """
    rule = TRANSITIONS[request.name]
    if request.actor.audience not in rule.audiences or not _is_party(
        order, request.actor, request.name
    ):
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order.order_id} of yours")
    state = order.dispatch.state if order.dispatch else None
    fits = rule.dispatch_states is None or state in rule.dispatch_states
    if order.status not in rule.statuses or not fits:
        where = order.status.value + (f" / {state.value}" if state else "")
        raise Refused(Refusal.WRONG_STATE, f"{request.name} does not fit an order that is {where}")
    step = rule.apply(order, request)
    if step.order is order:
        return step
    return replace(step, order=_next_version(order, step.order, request.now_ms))


def _is_party(order: Order, actor: Actor, name: str) -> bool:
    if actor.audience == "user":
        return order.user_id == actor.id
    if actor.audience == "vendor":
        return order.vendor_id == actor.id
    if actor.audience == "rider":
        return _is_rider_party(order.dispatch, actor.id, name)
    return actor.audience in ("ops", "engine")


def _is_rider_party(dispatch: Dispatch | None, rider: str, name: str) -> bool:
    if dispatch is None:
        return False
    if name in ("accept_delivery", "decline_delivery"):
        return rider in dispatch.offers or rider in dispatch.asked or rider == dispatch.rider_id
    return rider == dispatch.rider_id


def _next_version(before: Order, after: Order, now_ms: int) -> Order:
    assert after.version == before.version, "the version is counted here alone"
    times = after.times
    if after.status != before.status:
        times = {**times, after.status.value: now_ms}
    return replace(after, version=before.version + 1, updated_at=now_ms, times=times)


_USER, _VENDOR, _RIDER = frozenset({"user"}), frozenset({"vendor"}), frozenset({"rider"})
_ENGINE, _OPS = frozenset({"engine"}), frozenset({"ops"})
_PENDING = frozenset({S.PENDING})
# A parcel is searched for while PENDING, goods from ACCEPTED on.
_BEFORE_TRANSIT = frozenset({S.PENDING, S.ACCEPTED, S.PREPARING, S.READY})
_NOT_CALLED_OFF = frozenset(S) - {S.REJECTED, S.CANCELLED}
_DELIVERED = frozenset({S.DELIVERED, S.FUNDS_DISTRIBUTED})
_IN_TRANSIT = frozenset({S.IN_TRANSIT})
_UNASSIGNED = frozenset({D.SEARCHING, D.EXHAUSTED})
_BEFORE_PICKUP = frozenset({D.ASSIGNED, D.AT_PICKUP})
_AFTER_PICKUP = frozenset({D.PICKED_UP, D.AT_DROPOFF})

# Source: wire contract, order states.
TRANSITIONS: dict[str, TransitionRule] = {
    "place_order": TransitionRule(_USER, _PENDING, None, lifecycle.place_order),
    "payment_confirmed": TransitionRule(
        _ENGINE, _NOT_CALLED_OFF, None, lifecycle.payment_confirmed
    ),
    "payment_failed": TransitionRule(_ENGINE, _PENDING, None, timeouts.payment_failed),
    "lapse_order": TransitionRule(_ENGINE, _PENDING, None, timeouts.time_out_order),
    "accept_order": TransitionRule(_VENDOR, _PENDING, None, lifecycle.accept_order),
    "reject_order": TransitionRule(_VENDOR, _PENDING, None, lifecycle.reject_order),
    "order_preparing": TransitionRule(
        _VENDOR, frozenset({S.ACCEPTED}), None, lifecycle.order_preparing
    ),
    "order_ready": TransitionRule(
        _VENDOR, frozenset({S.ACCEPTED, S.PREPARING}), None, lifecycle.order_ready
    ),
    "make_offers": TransitionRule(
        _ENGINE, _BEFORE_TRANSIT, _UNASSIGNED | {D.OFFERED}, offers.make_offers
    ),
    "lapse_offers": TransitionRule(
        _ENGINE, _BEFORE_TRANSIT, frozenset({D.OFFERED}), offers.end_offers
    ),
    "exhaust_search": TransitionRule(
        _ENGINE, _BEFORE_TRANSIT, frozenset({D.SEARCHING}), offers.exhaust_search
    ),
    "accept_delivery": TransitionRule(_RIDER, _NOT_CALLED_OFF, None, offers.accept_delivery),
    "decline_delivery": TransitionRule(_RIDER, _NOT_CALLED_OFF, None, offers.decline_delivery),
    "release_delivery": TransitionRule(
        _RIDER, _BEFORE_TRANSIT, _BEFORE_PICKUP, offers.release_delivery
    ),
    "withdraw_delivery": TransitionRule(
        _ENGINE, _BEFORE_TRANSIT, _BEFORE_PICKUP, offers.withdraw_delivery
    ),
    "reassign": TransitionRule(
        _OPS, _BEFORE_TRANSIT, _BEFORE_PICKUP | _UNASSIGNED, offers.reassign
    ),
    "arrived_pickup": TransitionRule(
        _RIDER, _BEFORE_TRANSIT, frozenset({D.ASSIGNED}), lifecycle.arrived_pickup
    ),
    "note_arrival": TransitionRule(
        _ENGINE,
        _BEFORE_TRANSIT | _IN_TRANSIT,
        frozenset({D.ASSIGNED, D.PICKED_UP}),
        lifecycle.record_arrival,
    ),
    "pick_up": TransitionRule(_RIDER, _BEFORE_TRANSIT, _BEFORE_PICKUP, lifecycle.pick_up),
    "arrived_dropoff": TransitionRule(
        _RIDER, _IN_TRANSIT, frozenset({D.PICKED_UP}), lifecycle.arrived_dropoff
    ),
    "complete_delivery": TransitionRule(
        _RIDER, _IN_TRANSIT, _AFTER_PICKUP, lifecycle.complete_delivery
    ),
    "settle": TransitionRule(_ENGINE, _DELIVERED, None, lifecycle.settle),
    "cancel_order": TransitionRule(
        _USER | _OPS, _BEFORE_TRANSIT | _IN_TRANSIT, None, lifecycle.cancel_order
    ),
    "rate_order": TransitionRule(_USER, _DELIVERED, None, lifecycle.rate_order),
}
