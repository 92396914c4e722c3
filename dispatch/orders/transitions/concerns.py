"""Concerns about goods under way: noted with the order, and raised to operators once each: pure."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from dispatch.model import Order
from dispatch.orders.transitions.context import Transition, TransitionRequest, dispatch_of
from dispatch.wire.events import Alert


class ConcernFacts(NamedTuple):
    """What worries the engine now, by kind with a message, and its next check. Units: Unix ms."""

    messages: Mapping[str, str]
    due_at_ms: int


def note_concerns(order: Order, request: TransitionRequest[ConcernFacts]) -> Transition:
    """Note the concerns of the last check; operators are alerted of each that begins.

    One that is over is removed, so that it is raised again where it begins again.
    """
    dispatch, facts = dispatch_of(order), request.input
    if facts.messages.keys() == dispatch.concerns.keys():
        return Transition(order=order)
    now_ms = request.now_ms
    concerns = {kind: dispatch.concerns.get(kind, now_ms) for kind in facts.messages}
    alerts = tuple(
        Alert(
            kind=kind,
            message=message,
            order_id=order.order_id,
            rider_id=order.rider_id,
            ts=now_ms,
        )
        for kind, message in facts.messages.items()
        if kind not in dispatch.concerns
    )
    noted = replace(dispatch, concerns=concerns, due_at_ms=facts.due_at_ms)
    return Transition(order=replace(order, dispatch=noted), alerts=alerts)
