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
    Ask,
    Said,
    Step,
    both,
    closed,
    dispatch_of,
    mark,
    ready_for,
    searching,
    status,
    user_of,
)
from dispatch.wire import events
from dispatch.wire.commands import CancelOrder
from dispatch.wire.snapshots import order_snapshot
from ledger.core.accounts import owner as wallet
from ledger.core.cancellation_matrix import Fault, Parting, Stage, part
from ledger.core.facts import Settle, entry_key
from ledger.records.wallets import transaction_id

S = OrderStatus
D = DispatchState


def place_order(order: Order, ask: Ask) -> Step:
    """A new order enters; one that still waits for mobile money stays unseen by the vendor."""
    assert order.version == 0, "a new order has not been written yet"
    if order.payment.is_awaited:
        return Step(order=replace(order))
    return _begin(order, ask.now_ms)


def payment_confirmed(order: Order, ask: Ask) -> Step:
    """The provider has the customer's money, so the order goes on its way."""
    if not order.payment.is_awaited:
        return Step(order=order)
    paid = replace(order.payment, state=PaymentState.CAPTURED)
    return _begin(replace(order, payment=paid), ask.now_ms)


def _begin(order: Order, now_ms: int) -> Step:
    """Start the way of an order that is paid, or will be paid in cash."""
    if order.vendor_id is None:
        started = replace(order, dispatch=searching(order, now_ms))
        return Step(order=started, says=(status(order, "searching"),))
    begun = replace(order)
    shown = order_snapshot(replace(order, version=order.version + 1), "vendor")
    told = events.NewOrder(**mark(order), order=shown)
    return Step(order=begun, says=(Said(identity("vendor", order.vendor_id), told),))


def accept_order(order: Order, ask: Ask) -> Step:
    """The vendor takes the order and the search for a rider begins."""
    _require_payment(order)
    prep = ask.command.prep_minutes
    accepted = replace(
        order,
        status=S.ACCEPTED,
        prep_minutes=prep if prep is not None else order.prep_minutes,
        dispatch=searching(order, ask.now_ms),
    )
    told = Said(user_of(order), events.OrderAccepted(**mark(order), prep_minutes=prep))
    return Step(order=accepted, says=(told, status(order, "searching")))


def _require_payment(order: Order) -> None:
    if order.payment.is_awaited:
        raise Refused(Refusal.WRONG_STATE, "the order is not paid yet")


def reject_order(order: Order, ask: Ask) -> Step:
    """The vendor turns the order down; what was paid goes back."""
    _require_payment(order)
    reason, back = ask.command.reason, _refundable(order)
    rejected = replace(order, status=S.REJECTED, reason=reason, payment=order.payment.undone())
    told = events.OrderRejected(**mark(order), reason=reason, refund_amount=back)
    return Step(order=rejected, says=(Said(user_of(order), told),))


def order_preparing(order: Order, ask: Ask) -> Step:
    """The kitchen has begun."""
    told = Said(user_of(order), events.OrderPreparing(**mark(order)))
    return Step(order=replace(order, status=S.PREPARING), says=(told,))


def order_ready(order: Order, ask: Ask) -> Step:
    """The goods wait for the rider."""
    says = [Said(user_of(order), events.OrderReady(**mark(order)))]
    if order.rider_id is not None:
        says.append(ready_for(order, order.rider_id))
    return Step(order=replace(order, status=S.READY), says=tuple(says))


def arrived_pickup(order: Order, ask: Ask) -> Step:
    """The rider stands at the pickup."""
    return Step(order=_at(order, D.AT_PICKUP), says=_arrival(order, "pickup"))


def pick_up(order: Order, ask: Ask) -> Step:
    """The rider has the goods, which a vendor must have called ready."""
    if order.vendor_id is not None and order.status is not S.READY:
        raise Refused(Refusal.WRONG_STATE, f"the order is {order.status.value}, not READY")
    taken = replace(_at(order, D.PICKED_UP), status=S.IN_TRANSIT)
    told = events.OrderPickedUp(**mark(order), rider_id=ask.actor.id)
    return Step(order=taken, says=both(order, told))


def arrived_dropoff(order: Order, ask: Ask) -> Step:
    """The rider stands at the customer's door."""
    return Step(order=_at(order, D.AT_DROPOFF), says=_arrival(order, "dropoff"))


def _arrival(order: Order, at: events.Stop) -> tuple[Said, ...]:
    """Told once, by the rider's positions or by his tap, whichever comes first."""
    if at in dispatch_of(order).seen_at:
        return ()
    told = events.RiderArrived(**mark(order), at=at)
    return both(order, told) if at == "pickup" else (Said(user_of(order), told),)


def note_arrival(order: Order, ask: Ask) -> Step:
    """The rider was seen at the place he is on his way to; how far he is remains his word.

    `facts` are the rider and the place. What was seen of another rider, of another place or before
    changes nothing.
    """
    rider, at = ask.facts
    dispatch = dispatch_of(order)
    due = "pickup" if dispatch.state is D.ASSIGNED else "dropoff"
    if dispatch.rider_id != rider or at != due or at in dispatch.seen_at:
        return Step(order=order)
    seen = replace(dispatch, seen_at={**dispatch.seen_at, at: ask.now_ms})
    return Step(order=replace(order, dispatch=seen), says=_arrival(order, at))


def _at(order: Order, state: DispatchState) -> Order:
    """The rider sets the pace; after the pickup the engine has nothing to see to."""
    due_at_ms = dispatch_of(order).due_at_ms if state is D.AT_PICKUP else None
    return replace(order, dispatch=replace(dispatch_of(order), state=state, due_at_ms=due_at_ms))


def complete_delivery(order: Order, ask: Ask) -> Step:
    """The goods are handed over; from here the money may be split."""
    payment = order.payment
    if payment.method is PaymentMethod.CASH:
        cash = ask.command.cash_collected
        collected = order.pricing.total if cash is None else cash
        payment = replace(payment, state=PaymentState.COLLECTED, collected=collected)
    done = replace(_at(order, D.DONE), status=S.DELIVERED, payment=payment)
    told = events.OrderDelivered(**mark(order), rider_id=ask.actor.id)
    return Step(order=done, says=both(order, told), frees=ask.actor.id)


def settle(order: Order, ask: Ask) -> Step:
    """The money is split; vendor and rider learn their parts."""
    if order.status is S.FUNDS_DISTRIBUTED:
        return Step(order=order)
    price = order.pricing
    shares = [("vendor", order.vendor_id, price.vendor_share)]
    shares.append(("rider", order.rider_id, price.rider_part))
    says = tuple(
        Said(identity(audience, owner), _settled(order, wallet(audience.upper(), owner), amount))
        for audience, owner, amount in shares
        if owner is not None and amount > 0
    )
    return Step(order=replace(order, status=S.FUNDS_DISTRIBUTED), says=says)


def _settled(order: Order, account: str, amount: int) -> events.OrderSettled:
    key = entry_key(Settle(order.order_id))
    line = transaction_id(f"{key.pk}/{key.sk}", account)
    return events.OrderSettled(**mark(order), amount=amount, transaction_id=line)


def cancel_order(order: Order, ask: Ask) -> Step:
    """The order is called off; everyone in it is told and what was paid goes back.

    A customer may call off until the kitchen begins, an operator until the goods are handed over.
    """
    by_user = ask.actor.audience == "user"
    if by_user and order.status in (S.PREPARING, S.READY, S.IN_TRANSIT):
        raise Refused(Refusal.WRONG_STATE, f"the order is already {order.status.value}")
    reason = ask.command.reason or f"cancelled by {ask.actor.audience}"
    back = _refundable(order, parting_of(order, fault_of(ask.actor.audience, ask.command)))
    told = events.OrderCancelled(**mark(order), reason=reason, refund_amount=back)
    says = list(both(order, told))
    dispatch = order.dispatch
    if dispatch is not None:
        says.extend(closed(order, dispatch.offers, "cancelled"))
        dispatch = replace(dispatch, offers={}, due_at_ms=None)
    if order.rider_id is not None:
        says.append(Said(identity("rider", order.rider_id), told))
    off = replace(
        order,
        status=S.CANCELLED,
        reason=reason,
        dispatch=dispatch,
        payment=order.payment.undone(),
    )
    return Step(order=off, says=tuple(says), frees=order.rider_id)


def fault_of(audience: str, command: CancelOrder) -> Fault:
    """At whose door it lies that an order is called off; an operator may say so."""
    if audience == "user":
        return Fault.CUSTOMER
    return Fault(command.fault or Fault.PLATFORM)


def parting_of(order: Order, fault: Fault) -> Parting:
    """How the order's money is divided if it is called off now."""
    has_rider = order.rider_id is not None
    return part(order.pricing, Stage(order.status.value), fault, has_rider=has_rider)


def _refundable(order: Order, parting: Parting | None = None) -> int:
    if order.payment.state is not PaymentState.CAPTURED:
        return 0
    return order.pricing.total if parting is None else parting.customer


def rate_order(order: Order, ask: Ask) -> Step:
    """The customer says how it was."""
    return Step(order=replace(order, rating=ask.command.rating))
