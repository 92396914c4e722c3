"""Repetitions of a client's command without an id, such as a double tap: pure.

A step that was taken does not fit the order any more. Where the same actor asks for it again with
the same content, it gets the answer of the first time; another actor gets the refusal.
"""

import hashlib
from typing import Any

import msgspec
from msgspec.structs import replace

from dispatch.model import Dispatch, Order, OrderStatus, StepRecord
from dispatch.orders.transitions.context import Acceptance, Pickup, TransitionRequest
from dispatch.orders.transitions.handover import Handover
from dispatch.orders.units import MINUTE_MS
from dispatch.wire import commands
from dispatch.wire.snapshots import Snapshot, dispatch_view

# Steps that another one may undo: after a while a repetition of them is a new wish.
# Source: chosen; an app repeats a command that got no answer within half a minute.
_UNDONE_LATER = frozenset({"arrived_pickup", "release_delivery", "reassign"})
UNDONE_LATER_MS = MINUTE_MS
_ENDED_EARLY = frozenset({OrderStatus.REJECTED, OrderStatus.CANCELLED})
# 64 bits tell the few contents of one command apart. Units: hex digits.
_CONTENT_DIGITS = 16


def with_step(order: Order, request: TransitionRequest[Any]) -> Order:
    """The order after a client's command, with what a repetition of it is compared with."""
    command = _command_of(request)
    if command is None:
        return order
    dispatch = order.dispatch
    step = StepRecord(
        by=request.actor.id,
        content=_content_of(request, command),
        at_ms=request.now_ms,
        version=order.version,
        status=order.status,
        dispatch_state=dispatch.state if dispatch else None,
        rider_id=dispatch.rider_id if dispatch else None,
    )
    return replace(order, steps={**order.steps, request.name: step})


def repeated_answer(order: Order, request: TransitionRequest[Any]) -> Snapshot | None:
    """The first answer to a command that does not fit any more; None where it is no repetition."""
    step, command = order.steps.get(request.name), _command_of(request)
    if step is None or command is None or step.by != request.actor.id:
        return None
    if step.content != _content_of(request, command):
        return None
    if order.status in _ENDED_EARLY and step.status is not order.status:
        # What was done has been undone: the actor must learn that the order is over.
        return None
    if request.name in _UNDONE_LATER and request.now_ms > step.at_ms + UNDONE_LATER_MS:
        return None
    state, rider_id = step.dispatch_state, step.rider_id
    dispatch = None if state is None else Dispatch(state=state, started_at_ms=0, rider_id=rider_id)
    return {
        "orderId": order.order_id,
        "status": step.status.value,
        "dispatch": dispatch_view(dispatch),
        "version": step.version,
    }


def _command_of(request: TransitionRequest[Any]) -> commands.OrderCommand | None:
    """The client's command in a request; None for requests of the engine."""
    given = request.input
    if isinstance(given, Acceptance | Handover | Pickup):
        return given.command
    return given if isinstance(given, commands.OrderCommand) else None


def _content_of(request: TransitionRequest[Any], command: commands.OrderCommand) -> str:
    # An operator and a customer may have the same id.
    content = (request.actor.audience, replace(command, command_id=None))
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()[:_CONTENT_DIGITS]
