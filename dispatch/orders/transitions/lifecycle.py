"""Order transitions by customers, vendors and riders, from placement to rating: pure."""

from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.keys import identity
from dispatch.model import (
    DispatchState,
    Order,
    OrderStatus,
    PaymentState,
)
from dispatch.orders.transitions.context import (
    AddressedEvent,
    ArrivalFacts,
    Pickup,
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
from dispatch.wire import commands, events
from dispatch.wire.snapshots import order_snapshot
from ledger.core.accounts import owner as wallet_account
from ledger.core.cancellation_matrix import CancellationSplit, Fault, Stage, split_cancellation
from ledger.core.facts import Settle, entry_key
from ledger.records.wallets import transaction_id


def place_order(order: Order, request: TransitionRequest[None]) -> Transition:
    """Place a new order; the vendor does not see one that waits for mobile money."""
    assert order.version == 0, "a new order has not been written yet"
    if order.payment.is_awaited:
        return Transition(order=replace(order))
    return _start_order(order, request.now_ms)


def payment_confirmed(order: Order, request: TransitionRequest[None]) -> Transition:
    """Record that the provider has the customer's money, and start the order."""
    if not order.payment.is_awaited:
        return Transition(order=order)
    paid = replace(order.payment, state=PaymentState.CAPTURED)
    return _start_order(replace(order, payment=paid), request.now_ms)


def _start_order(order: Order, now_ms: int) -> Transition:
    """Send an order to its vendor, or search a rider for a parcel: it is paid, or due in cash."""
    if order.vendor_id is None:
        started = replace(order, dispatch=start_search(order, now_ms))
        return Transition(order=started, events=(search_status_event(order, "searching"),))
    snapshot = order_snapshot(replace(order, version=order.version + 1), "vendor")
    event = events.NewOrder(**event_fields(order), order=snapshot)
    return Transition(
        order=replace(order),
        events=(AddressedEvent(identity("vendor", order.vendor_id), event),),
    )


def accept_order(order: Order, request: TransitionRequest[commands.AcceptOrder]) -> Transition:
    """The vendor accepts the order; the search for a rider begins."""
    _require_paid(order)
    prep_minutes = request.input.prep_minutes
    accepted = replace(
        order,
        status=OrderStatus.ACCEPTED,
        prep_minutes=prep_minutes if prep_minutes is not None else order.prep_minutes,
        dispatch=start_search(order, request.now_ms),
    )
    event = events.OrderAccepted(**event_fields(order), prep_minutes=prep_minutes)
    return Transition(
        order=accepted,
        events=(
            AddressedEvent(user_identity(order), event),
            search_status_event(order, "searching"),
        ),
    )


def _require_paid(order: Order) -> None:
    if order.payment.is_awaited:
        raise Refused(Refusal.WRONG_STATE, "the order is not paid yet")


def reject_order(order: Order, request: TransitionRequest[commands.RejectOrder]) -> Transition:
    """The vendor rejects the order; the customer gets back what was paid."""
    _require_paid(order)
    reason = request.input.reason
    event = events.OrderRejected(
        **event_fields(order), reason=reason, refund_amount=_refund_xaf(order)
    )
    rejected = replace(
        order, status=OrderStatus.REJECTED, reason=reason, payment=order.payment.reversed()
    )
    return Transition(order=rejected, events=(AddressedEvent(user_identity(order), event),))


def order_preparing(
    order: Order, request: TransitionRequest[commands.OrderPreparing]
) -> Transition:
    """The vendor has begun to prepare the goods."""
    event = events.OrderPreparing(**event_fields(order))
    return Transition(
        order=replace(order, status=OrderStatus.PREPARING),
        events=(AddressedEvent(user_identity(order), event),),
    )


def order_ready(order: Order, request: TransitionRequest[commands.OrderReady]) -> Transition:
    """The goods are ready for pickup; the rider is notified where one is assigned."""
    event = events.OrderReady(**event_fields(order))
    addressed = [AddressedEvent(user_identity(order), event)]
    if order.rider_id is not None:
        addressed.append(pickup_ready_event(order, order.rider_id))
    ready = replace(order, status=OrderStatus.READY, ready_by="vendor")
    return Transition(order=ready, events=tuple(addressed))


def arrived_pickup(order: Order, request: TransitionRequest[commands.ArrivedPickup]) -> Transition:
    """The rider says that it is at the pickup."""
    return Transition(
        order=_with_dispatch_state(order, DispatchState.AT_PICKUP),
        events=_arrival_events(order, "pickup"),
    )


def pick_up(order: Order, request: TransitionRequest[Pickup]) -> Transition:
    """The rider takes the goods; by policy it may take them before the vendor reports them ready.

    Then there is no `order_ready`: the customer gets `order_picked_up`, which says more, and no
    preparation time is learned from an order that nobody reported.

    Errors: Refused WRONG_STATE.
    """
    ready_by = order.ready_by
    if order.vendor_id is not None and order.status is not OrderStatus.READY:
        if not request.input.implies_ready:
            raise Refused(Refusal.WRONG_STATE, f"the order is {order.status.value}, not READY")
        ready_by = "pickup"
    picked_up = replace(
        _with_dispatch_state(order, DispatchState.PICKED_UP),
        status=OrderStatus.IN_TRANSIT,
        ready_by=ready_by,
    )
    event = events.OrderPickedUp(**event_fields(order), rider_id=request.actor.id)
    return Transition(order=picked_up, events=to_user_and_vendor(order, event))


def arrived_dropoff(
    order: Order, request: TransitionRequest[commands.ArrivedDropoff]
) -> Transition:
    """The rider says that it is at the dropoff."""
    return Transition(
        order=_with_dispatch_state(order, DispatchState.AT_DROPOFF),
        events=_arrival_events(order, "dropoff"),
    )


def _arrival_events(order: Order, stop: events.Stop) -> tuple[AddressedEvent, ...]:
    """`rider_arrived`, sent once: for the rider's positions or its command, whichever is first."""
    if stop in dispatch_of(order).seen_at:
        return ()
    event = events.RiderArrived(**event_fields(order), at=stop)
    if stop == "pickup":
        return to_user_and_vendor(order, event)
    return (AddressedEvent(user_identity(order), event),)


def record_arrival(order: Order, request: TransitionRequest[ArrivalFacts]) -> Transition:
    """Record that the rider's positions showed it at its next stop; the dispatch state stays.

    Positions of another rider or at another stop, and repetitions, change nothing.
    """
    rider_id, stop = request.input
    dispatch = dispatch_of(order)
    next_stop = "pickup" if dispatch.state is DispatchState.ASSIGNED else "dropoff"
    if dispatch.rider_id != rider_id or stop != next_stop or stop in dispatch.seen_at:
        return Transition(order=order)
    seen = replace(dispatch, seen_at={**dispatch.seen_at, stop: request.now_ms})
    return Transition(order=replace(order, dispatch=seen), events=_arrival_events(order, stop))


def _with_dispatch_state(order: Order, state: DispatchState) -> Order:
    return replace(order, dispatch=replace(dispatch_of(order), state=state))


def settle(order: Order, request: TransitionRequest[None]) -> Transition:
    """The order's money is split; vendor and rider are sent their shares."""
    if order.status is OrderStatus.FUNDS_DISTRIBUTED:
        return Transition(order=order)
    shares = (
        ("vendor", order.vendor_id, order.pricing.vendor_share),
        ("rider", order.rider_id, order.pricing.rider_total),
    )
    addressed = tuple(
        AddressedEvent(
            identity(audience, owner),
            _settled_event(order, wallet_account(audience.upper(), owner), amount_xaf),
        )
        for audience, owner, amount_xaf in shares
        if owner is not None and amount_xaf > 0
    )
    return Transition(order=replace(order, status=OrderStatus.FUNDS_DISTRIBUTED), events=addressed)


def _settled_event(order: Order, account: str, amount_xaf: int) -> events.OrderSettled:
    key = entry_key(Settle(order.order_id))
    line = transaction_id(f"{key.pk}/{key.sk}", account)
    return events.OrderSettled(**event_fields(order), amount=amount_xaf, transaction_id=line)


def cancel_order(order: Order, request: TransitionRequest[commands.CancelOrder]) -> Transition:
    """Cancel the order: notify everyone in it, close its offers, give back what was paid.

    A customer may cancel until the preparation begins, an operator until the delivery.

    Errors: Refused WRONG_STATE.
    """
    audience, command = request.actor.audience, request.input
    if audience == "user" and order.status in (
        OrderStatus.PREPARING,
        OrderStatus.READY,
        OrderStatus.IN_TRANSIT,
    ):
        raise Refused(Refusal.WRONG_STATE, f"the order is already {order.status.value}")
    reason = command.reason or f"cancelled by {audience}"
    fault = fault_of(audience, command)
    refund_xaf = _refund_xaf(order, cancellation_split_of(order, fault))
    event = events.OrderCancelled(**event_fields(order), reason=reason, refund_amount=refund_xaf)
    addressed = list(to_user_and_vendor(order, event))
    dispatch = order.dispatch
    if dispatch is not None:
        addressed.extend(offer_closed_events(order, dispatch.offers, "cancelled"))
        dispatch = replace(dispatch, offers={}, due_at_ms=None)
    if order.rider_id is not None:
        addressed.append(AddressedEvent(identity("rider", order.rider_id), event))
    cancelled = replace(
        order,
        status=OrderStatus.CANCELLED,
        reason=reason,
        fault=fault.value,
        dispatch=dispatch,
        payment=order.payment.reversed(),
    )
    return Transition(order=cancelled, events=tuple(addressed), released_rider_id=order.rider_id)


def fault_of(audience: str, command: commands.CancelOrder) -> Fault:
    """Who is at fault for a cancellation: the customer who cancels, or whom an operator names."""
    if audience == "user":
        return Fault.CUSTOMER
    return Fault(command.fault or Fault.PLATFORM)


def cancellation_split_of(order: Order, fault: Fault) -> CancellationSplit:
    """How the order's money is divided if it is cancelled now, by the cancellation matrix."""
    has_rider = order.rider_id is not None
    return split_cancellation(order.pricing, Stage(order.status.value), fault, has_rider=has_rider)


def _refund_xaf(order: Order, split: CancellationSplit | None = None) -> int:
    if order.payment.state is not PaymentState.CAPTURED:
        return 0
    return order.pricing.total if split is None else split.customer


def rate_order(order: Order, request: TransitionRequest[commands.RateOrder]) -> Transition:
    """The customer rates the delivered order, once: the first rating counts for the rider.

    The same rating again changes nothing.

    Errors: Refused WRONG_STATE for another one.
    """
    command = request.input
    if order.rating is None:
        rated = replace(order, rating=command.rating, rating_comment=command.comment)
        return Transition(order=rated)
    if (order.rating, order.rating_comment) != (command.rating, command.comment):
        raise Refused(Refusal.WRONG_STATE, f"you have rated this order already: {order.rating}")
    return Transition(order=order)
