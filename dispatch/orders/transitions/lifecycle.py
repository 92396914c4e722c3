"""What customers, vendors and riders do to an order, from its placement to its last word."""

from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.keys import identity
from dispatch.model import (
    DispatchState,
    Order,
    OrderStatus,
    PaymentMethod,
    PaymentState,
)
from dispatch.orders.transitions.context import (
    AddressedEvent,
    Transition,
    TransitionRequest,
    dispatch_of,
    event_fields,
    offer_closed_events,
    pickup_ready_event,
    search_status_event,
    start_search,
    to_user_and_vendor,
    user_identity,
)
from dispatch.wire import events
from dispatch.wire.commands import CancelOrder
from dispatch.wire.snapshots import order_snapshot
from ledger.core.accounts import owner as wallet
from ledger.core.cancellation_matrix import CancellationSplit, Fault, Stage, split_cancellation
from ledger.core.facts import Settle, entry_key
from ledger.records.wallets import transaction_id

S = OrderStatus
D = DispatchState


def place_order(order: Order, request: TransitionRequest) -> Transition:
    """A new order enters; one that still waits for mobile money stays unseen by the vendor."""
    assert order.version == 0, "a new order has not been written yet"
    if order.payment.is_awaited:
        return Transition(order=replace(order))
    return _start_order(order, request.now_ms)


def payment_confirmed(order: Order, request: TransitionRequest) -> Transition:
    """The provider has the customer's money, so the order goes on its way."""
    if not order.payment.is_awaited:
        return Transition(order=order)
    paid = replace(order.payment, state=PaymentState.CAPTURED)
    return _start_order(replace(order, payment=paid), request.now_ms)


def _start_order(order: Order, now_ms: int) -> Transition:
    """Start the way of an order that is paid, or will be paid in cash."""
    if order.vendor_id is None:
        started = replace(order, dispatch=start_search(order, now_ms))
        return Transition(order=started, events=(search_status_event(order, "searching"),))
    begun = replace(order)
    shown = order_snapshot(replace(order, version=order.version + 1), "vendor")
    told = events.NewOrder(**event_fields(order), order=shown)
    return Transition(
        order=begun, events=(AddressedEvent(identity("vendor", order.vendor_id), told),)
    )


def accept_order(order: Order, request: TransitionRequest) -> Transition:
    """The vendor takes the order and the search for a rider begins."""
    _require_paid(order)
    prep = request.command.prep_minutes
    accepted = replace(
        order,
        status=S.ACCEPTED,
        prep_minutes=prep if prep is not None else order.prep_minutes,
        dispatch=start_search(order, request.now_ms),
    )
    told = AddressedEvent(
        user_identity(order), events.OrderAccepted(**event_fields(order), prep_minutes=prep)
    )
    return Transition(order=accepted, events=(told, search_status_event(order, "searching")))


def _require_paid(order: Order) -> None:
    if order.payment.is_awaited:
        raise Refused(Refusal.WRONG_STATE, "the order is not paid yet")


def reject_order(order: Order, request: TransitionRequest) -> Transition:
    """The vendor turns the order down; what was paid goes back."""
    _require_paid(order)
    reason, back = request.command.reason, _refund_xaf(order)
    rejected = replace(order, status=S.REJECTED, reason=reason, payment=order.payment.reversed())
    told = events.OrderRejected(**event_fields(order), reason=reason, refund_amount=back)
    return Transition(order=rejected, events=(AddressedEvent(user_identity(order), told),))


def order_preparing(order: Order, request: TransitionRequest) -> Transition:
    """The kitchen has begun."""
    told = AddressedEvent(user_identity(order), events.OrderPreparing(**event_fields(order)))
    return Transition(order=replace(order, status=S.PREPARING), events=(told,))


def order_ready(order: Order, request: TransitionRequest) -> Transition:
    """The goods wait for the rider."""
    says = [AddressedEvent(user_identity(order), events.OrderReady(**event_fields(order)))]
    if order.rider_id is not None:
        says.append(pickup_ready_event(order, order.rider_id))
    return Transition(order=replace(order, status=S.READY), events=tuple(says))


def arrived_pickup(order: Order, request: TransitionRequest) -> Transition:
    """The rider stands at the pickup."""
    return Transition(
        order=_with_dispatch_state(order, D.AT_PICKUP), events=_arrival_events(order, "pickup")
    )


def pick_up(order: Order, request: TransitionRequest) -> Transition:
    """The rider has the goods, which a vendor must have called ready."""
    if order.vendor_id is not None and order.status is not S.READY:
        raise Refused(Refusal.WRONG_STATE, f"the order is {order.status.value}, not READY")
    taken = replace(_with_dispatch_state(order, D.PICKED_UP), status=S.IN_TRANSIT)
    told = events.OrderPickedUp(**event_fields(order), rider_id=request.actor.id)
    return Transition(order=taken, events=to_user_and_vendor(order, told))


def arrived_dropoff(order: Order, request: TransitionRequest) -> Transition:
    """The rider stands at the customer's door."""
    return Transition(
        order=_with_dispatch_state(order, D.AT_DROPOFF), events=_arrival_events(order, "dropoff")
    )


def _arrival_events(order: Order, stop: events.Stop) -> tuple[AddressedEvent, ...]:
    """Told once, by the rider's positions or by his tap, whichever comes first."""
    if stop in dispatch_of(order).seen_at:
        return ()
    told = events.RiderArrived(**event_fields(order), at=stop)
    return (
        to_user_and_vendor(order, told)
        if stop == "pickup"
        else (AddressedEvent(user_identity(order), told),)
    )


def record_arrival(order: Order, request: TransitionRequest) -> Transition:
    """The rider was seen at the place he is on his way to; how far he is remains his word.

    `facts` are the rider and the place. What was seen of another rider, of another place or before
    changes nothing.
    """
    rider, at = request.facts
    dispatch = dispatch_of(order)
    due = "pickup" if dispatch.state is D.ASSIGNED else "dropoff"
    if dispatch.rider_id != rider or at != due or at in dispatch.seen_at:
        return Transition(order=order)
    seen = replace(dispatch, seen_at={**dispatch.seen_at, at: request.now_ms})
    return Transition(order=replace(order, dispatch=seen), events=_arrival_events(order, at))


def _with_dispatch_state(order: Order, state: DispatchState) -> Order:
    """The rider sets the pace; after the pickup the engine has nothing to see to."""
    due_at_ms = dispatch_of(order).due_at_ms if state is D.AT_PICKUP else None
    return replace(order, dispatch=replace(dispatch_of(order), state=state, due_at_ms=due_at_ms))


def complete_delivery(order: Order, request: TransitionRequest) -> Transition:
    """The goods are handed over; from here the money may be split."""
    payment = order.payment
    if payment.method is PaymentMethod.CASH:
        cash = request.command.cash_collected
        collected = order.pricing.total if cash is None else cash
        payment = replace(payment, state=PaymentState.COLLECTED, collected=collected)
    done = replace(_with_dispatch_state(order, D.DONE), status=S.DELIVERED, payment=payment)
    told = events.OrderDelivered(**event_fields(order), rider_id=request.actor.id)
    return Transition(
        order=done, events=to_user_and_vendor(order, told), released_rider_id=request.actor.id
    )


def settle(order: Order, request: TransitionRequest) -> Transition:
    """The money is split; vendor and rider learn their parts."""
    if order.status is S.FUNDS_DISTRIBUTED:
        return Transition(order=order)
    price = order.pricing
    shares = [("vendor", order.vendor_id, price.vendor_share)]
    shares.append(("rider", order.rider_id, price.rider_total))
    says = tuple(
        AddressedEvent(
            identity(audience, owner),
            _settled_event(order, wallet(audience.upper(), owner), amount),
        )
        for audience, owner, amount in shares
        if owner is not None and amount > 0
    )
    return Transition(order=replace(order, status=S.FUNDS_DISTRIBUTED), events=says)


def _settled_event(order: Order, account: str, amount: int) -> events.OrderSettled:
    key = entry_key(Settle(order.order_id))
    line = transaction_id(f"{key.pk}/{key.sk}", account)
    return events.OrderSettled(**event_fields(order), amount=amount, transaction_id=line)


def cancel_order(order: Order, request: TransitionRequest) -> Transition:
    """The order is called off; everyone in it is told and what was paid goes back.

    A customer may call off until the kitchen begins, an operator until the goods are handed over.
    """
    by_user = request.actor.audience == "user"
    if by_user and order.status in (S.PREPARING, S.READY, S.IN_TRANSIT):
        raise Refused(Refusal.WRONG_STATE, f"the order is already {order.status.value}")
    reason = request.command.reason or f"cancelled by {request.actor.audience}"
    back = _refund_xaf(
        order, cancellation_split_of(order, fault_of(request.actor.audience, request.command))
    )
    told = events.OrderCancelled(**event_fields(order), reason=reason, refund_amount=back)
    says = list(to_user_and_vendor(order, told))
    dispatch = order.dispatch
    if dispatch is not None:
        says.extend(offer_closed_events(order, dispatch.offers, "cancelled"))
        dispatch = replace(dispatch, offers={}, due_at_ms=None)
    if order.rider_id is not None:
        says.append(AddressedEvent(identity("rider", order.rider_id), told))
    off = replace(
        order,
        status=S.CANCELLED,
        reason=reason,
        dispatch=dispatch,
        payment=order.payment.reversed(),
    )
    return Transition(order=off, events=tuple(says), released_rider_id=order.rider_id)


def fault_of(audience: str, command: CancelOrder) -> Fault:
    """At whose door it lies that an order is called off; an operator may say so."""
    if audience == "user":
        return Fault.CUSTOMER
    return Fault(command.fault or Fault.PLATFORM)


def cancellation_split_of(order: Order, fault: Fault) -> CancellationSplit:
    """How the order's money is divided if it is called off now."""
    has_rider = order.rider_id is not None
    return split_cancellation(order.pricing, Stage(order.status.value), fault, has_rider=has_rider)


def _refund_xaf(order: Order, split: CancellationSplit | None = None) -> int:
    if order.payment.state is not PaymentState.CAPTURED:
        return 0
    return order.pricing.total if split is None else split.customer


def rate_order(order: Order, request: TransitionRequest) -> Transition:
    """The customer says how it was."""
    return Transition(order=replace(order, rating=request.command.rating))
