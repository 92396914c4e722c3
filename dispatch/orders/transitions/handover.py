"""Handover transition: the rider ends a delivery, with cash, proof and its position: pure."""

from typing import NamedTuple

from msgspec.structs import replace

from dispatch.ids import RiderId
from dispatch.model import (
    DeliveryProof,
    DispatchState,
    Order,
    OrderStatus,
)
from dispatch.orders.transitions.cash_difference import (
    CashReport,
    CashShortage,
    cash_alert,
    payment_after,
)
from dispatch.orders.transitions.context import (
    Transition,
    TransitionRequest,
    dispatch_of,
    event_fields,
    to_user_and_vendor,
)
from dispatch.orders.transitions.evidence import evidence_of
from dispatch.wire import commands, events
from dispatch.wire.events import Alert


class HandoverPolicy(NamedTuple):
    """Who owes missing cash, and from how far away a handover is raised. Units: metres.

    Source: chosen; 500 m is more than a wrong pin and a large building are apart from the door.
    """

    shortage: CashShortage = "rider"
    far_m: int = 500


class Handover(NamedTuple):
    """A rider's command that ends a delivery, and the company's policy."""

    command: commands.CompleteDelivery
    policy: HandoverPolicy = HandoverPolicy()


def complete_delivery(order: Order, request: TransitionRequest[Handover]) -> Transition:
    """The rider has handed the goods over; from now on the order may be settled.

    The rider's word decides: a handover far from the door is raised to operators, not refused.

    Errors: Refused MALFORMED for cash that cannot have been collected.
    """
    command, policy = request.input
    payment = payment_after(order, CashReport(command.cash_collected, policy.shortage))
    done = replace(dispatch_of(order), state=DispatchState.DONE, due_at_ms=None, concerns={})
    delivered = replace(
        order,
        status=OrderStatus.DELIVERED,
        dispatch=done,
        payment=payment,
        proof=_proof_of(command),
    )
    event = events.OrderDelivered(**event_fields(order), rider_id=request.actor.id)
    alerts = (
        cash_alert(order, payment, request.now_ms),
        _far_alert(order, request),
    )
    return Transition(
        order=delivered,
        events=to_user_and_vendor(order, event),
        released_rider_id=RiderId(request.actor.id),
        alerts=tuple(filter(None, alerts)),
    )


def _far_alert(order: Order, request: TransitionRequest[Handover]) -> Alert | None:
    """`completed_far`, where even the nearest point of the position's accuracy is too far away."""
    evidence, far_m = evidence_of(order, request), request.input.policy.far_m
    if evidence is None or evidence.distance_m - (evidence.accuracy or 0) <= far_m:
        return None
    return Alert(
        kind="completed_far",
        message=(
            f"completed {evidence.distance_m} m from the dropoff, by a position "
            f"{evidence.age_ms // 1000} s old"
        ),
        order_id=order.order_id,
        rider_id=order.rider_id,
        ts=request.now_ms,
    )


def _proof_of(command: commands.CompleteDelivery) -> DeliveryProof | None:
    sent = command.proof
    if sent is None or isinstance(sent, str):
        return DeliveryProof(kind="NOTE", note=sent) if sent else None
    return DeliveryProof(kind=sent.kind, pin=sent.pin, upload_id=sent.upload_id, code=sent.code)
