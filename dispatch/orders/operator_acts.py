"""Operators' acts on orders, as their audit records keep them: pure."""

from typing import Any

import msgspec

from dispatch.events.audit_records import OperatorAct, resource_of
from dispatch.model import Order
from dispatch.orders.transitions.context import TransitionRequest

# Fields of a command that stand elsewhere in the record, or say nothing about the act.
_LEFT_OUT = ("orderId", "commandId", "reason")


def operator_act(
    request: TransitionRequest[Any], before: Order, after: Order
) -> OperatorAct | None:
    """The act of an operator's transition; None for those of parties and of the engine."""
    if request.actor.audience != "ops":
        return None
    command: dict[str, Any] = msgspec.to_builtins(request.input)
    details = {
        "statusBefore": before.status.value,
        "statusAfter": after.status.value,
        "riderBefore": before.rider_id,
        **{name: value for name, value in command.items() if name not in _LEFT_OUT},
    }
    return OperatorAct(
        action=request.name,
        actor=request.actor.id,
        resource=resource_of("order", before.order_id),
        reason=command.get("reason"),
        details={name: value for name, value in details.items() if value is not None},
    )
