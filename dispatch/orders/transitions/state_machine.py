"""Order state machine: which transition is allowed to whom in which state, and its rule: pure."""

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.ids import RiderId
from dispatch.model import Dispatch, DispatchState, Order, OrderStatus
from dispatch.orders.transitions import concerns, handover, lifecycle, offers, timeouts
from dispatch.orders.transitions.context import (
    Actor,
    InputT,
    Transition,
    TransitionRequest,
)
from dispatch.orders.transitions.evidence import with_evidence
from dispatch.orders.transitions.repeats import repeated_answer, with_step


class TransitionRule(NamedTuple):
    """Who may request a transition, in which states, and the function that makes it.

    Each function types its request's input; the table below holds all of them, so it is Any here.
    """

    audiences: frozenset[str]
    statuses: frozenset[OrderStatus]
    dispatch_states: frozenset[DispatchState] | None
    apply: Callable[[Order, TransitionRequest[Any]], Transition]


def decide_transition(order: Order, request: TransitionRequest[InputT]) -> Transition:
    """Decide one request; the order after it has the next version, or is the same object.

    A repetition of a step that fits no more changes nothing, and has its first answer.

    Errors: Refused with NOT_FOUND where the order is not the actor's, WRONG_STATE where the request
    does not fit the order's state, OFFER_TAKEN and OFFER_EXPIRED for offers.
    """
    try:
        return _decide(order, request)
    except Refused:
        first_answer = repeated_answer(order, request)
        if first_answer is None:
            raise
        return Transition(order=order, first_answer=first_answer)


def _decide(order: Order, request: TransitionRequest[InputT]) -> Transition:
    rule = TRANSITIONS[request.name]
    if request.actor.audience not in rule.audiences or not _is_party(
        order, request.actor, request.name
    ):
        raise Refused(Refusal.NOT_FOUND, f"there is no order {order.order_id} of yours")
    state = order.dispatch.state if order.dispatch else None
    is_state_allowed = rule.dispatch_states is None or state in rule.dispatch_states
    if order.status not in rule.statuses or not is_state_allowed:
        raise _wrong_state(order, request.name)
    transition = rule.apply(order, request)
    if transition.order is order:
        return transition
    after = with_evidence(transition.order, request)
    after = _next_version(order, after, request)
    return replace(transition, order=with_step(after, request))


# What can be done with goods that are with a rider, by the request that comes too late.
_AFTER_PICKUP_HINTS = {
    "release_delivery": "you have the goods: deliver them, or ask an operator",
    "reassign": "the rider has the goods: call it, or cancel the order",
}


def _wrong_state(order: Order, name: str) -> Refused:
    state = order.dispatch.state if order.dispatch else None
    present = order.status.value + (f" / {state.value}" if state else "")
    message = f"{name} does not fit an order that is {present}"
    if state in _AFTER_PICKUP and name in _AFTER_PICKUP_HINTS:
        message = f"{message}; {_AFTER_PICKUP_HINTS[name]}"
    return Refused(Refusal.WRONG_STATE, message)


def _is_party(order: Order, actor: Actor, name: str) -> bool:
    if actor.audience == "user":
        return order.user_id == actor.id
    if actor.audience == "vendor":
        return order.vendor_id == actor.id
    if actor.audience == "rider":
        return _is_rider_party(order.dispatch, RiderId(actor.id), name)
    return actor.audience in ("ops", "engine")


def _is_rider_party(dispatch: Dispatch | None, rider_id: RiderId, name: str) -> bool:
    if dispatch is None:
        return False
    if rider_id == dispatch.rider_id:
        return True
    is_answer = name in ("accept_delivery", "decline_delivery")
    return is_answer and (rider_id in dispatch.offers or rider_id in dispatch.asked)


def _next_version(before: Order, after: Order, request: TransitionRequest[Any]) -> Order:
    assert after.version == before.version, "only this module counts versions"
    now_ms = request.now_ms
    if after.status != before.status:
        reached = after.status.value
        after = replace(
            after,
            times={**after.times, reached: now_ms},
            times_by={**after.times_by, reached: request.actor.audience},
        )
    return replace(after, version=before.version + 1, updated_at=now_ms)


_USER, _VENDOR, _RIDER = frozenset({"user"}), frozenset({"vendor"}), frozenset({"rider"})
_ENGINE, _OPS = frozenset({"engine"}), frozenset({"ops"})
_PENDING = frozenset({OrderStatus.PENDING})
# The search for a rider begins with PENDING for a parcel, with ACCEPTED for goods.
_BEFORE_TRANSIT = frozenset(
    {OrderStatus.PENDING, OrderStatus.ACCEPTED, OrderStatus.PREPARING, OrderStatus.READY}
)
_NOT_CANCELLED = frozenset(OrderStatus) - {OrderStatus.REJECTED, OrderStatus.CANCELLED}
_DELIVERED = frozenset({OrderStatus.DELIVERED, OrderStatus.FUNDS_DISTRIBUTED})
_IN_TRANSIT = frozenset({OrderStatus.IN_TRANSIT})
_UNASSIGNED = frozenset({DispatchState.SEARCHING, DispatchState.EXHAUSTED})
_BEFORE_PICKUP = frozenset({DispatchState.ASSIGNED, DispatchState.AT_PICKUP})
_AFTER_PICKUP = frozenset({DispatchState.PICKED_UP, DispatchState.AT_DROPOFF})

# Source: docs/contract.md, order states.
TRANSITIONS: dict[str, TransitionRule] = {
    "place_order": TransitionRule(_USER, _PENDING, None, lifecycle.place_order),
    "payment_confirmed": TransitionRule(_ENGINE, _NOT_CANCELLED, None, lifecycle.payment_confirmed),
    "payment_failed": TransitionRule(_ENGINE, _PENDING, None, timeouts.payment_failed),
    "time_out_order": TransitionRule(_ENGINE, _PENDING, None, timeouts.time_out_order),
    "accept_order": TransitionRule(_VENDOR, _PENDING, None, lifecycle.accept_order),
    "reject_order": TransitionRule(_VENDOR, _PENDING, None, lifecycle.reject_order),
    "order_preparing": TransitionRule(
        _VENDOR, frozenset({OrderStatus.ACCEPTED}), None, lifecycle.order_preparing
    ),
    "order_ready": TransitionRule(
        _VENDOR,
        frozenset({OrderStatus.ACCEPTED, OrderStatus.PREPARING}),
        None,
        lifecycle.order_ready,
    ),
    "make_offers": TransitionRule(
        _ENGINE, _BEFORE_TRANSIT, _UNASSIGNED | {DispatchState.OFFERED}, offers.make_offers
    ),
    "end_offers": TransitionRule(
        _ENGINE, _BEFORE_TRANSIT, frozenset({DispatchState.OFFERED}), offers.end_offers
    ),
    "exhaust_search": TransitionRule(
        _ENGINE, _BEFORE_TRANSIT, frozenset({DispatchState.SEARCHING}), offers.exhaust_search
    ),
    "accept_delivery": TransitionRule(_RIDER, _NOT_CANCELLED, None, offers.accept_delivery),
    "decline_delivery": TransitionRule(_RIDER, _NOT_CANCELLED, None, offers.decline_delivery),
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
        _RIDER, _BEFORE_TRANSIT, frozenset({DispatchState.ASSIGNED}), lifecycle.arrived_pickup
    ),
    "record_arrival": TransitionRule(
        _ENGINE,
        _BEFORE_TRANSIT | _IN_TRANSIT,
        frozenset({DispatchState.ASSIGNED, DispatchState.PICKED_UP}),
        lifecycle.record_arrival,
    ),
    "pick_up": TransitionRule(_RIDER, _BEFORE_TRANSIT, _BEFORE_PICKUP, lifecycle.pick_up),
    "arrived_dropoff": TransitionRule(
        _RIDER, _IN_TRANSIT, frozenset({DispatchState.PICKED_UP}), lifecycle.arrived_dropoff
    ),
    "note_concerns": TransitionRule(_ENGINE, _IN_TRANSIT, _AFTER_PICKUP, concerns.note_concerns),
    "complete_delivery": TransitionRule(
        _RIDER, _IN_TRANSIT, _AFTER_PICKUP, handover.complete_delivery
    ),
    "settle": TransitionRule(_ENGINE, _DELIVERED, None, lifecycle.settle),
    "cancel_order": TransitionRule(
        _USER | _OPS, _BEFORE_TRANSIT | _IN_TRANSIT, None, lifecycle.cancel_order
    ),
    "rate_order": TransitionRule(_USER, _DELIVERED, None, lifecycle.rate_order),
}
