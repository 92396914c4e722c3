"""Operators' acts on orders: what their audit records keep."""

import pytest

from dispatch.ids import OrderId
from dispatch.model import OrderStatus
from dispatch.orders.operator_acts import operator_act
from dispatch.orders.transitions.context import Actor, TransitionRequest
from dispatch.wire import commands
from tests.factories import an_order


def request_by(audience: str) -> TransitionRequest[commands.CancelOrder]:
    """A request to cancel an order."""
    command = commands.CancelOrder(order_id=OrderId("ord_1"), reason="fire", fault="VENDOR")
    return TransitionRequest(
        name="cancel_order", actor=Actor(audience, "adm_1"), now_ms=1, input=command
    )


def test_an_operators_act_names_order_reason_and_values():
    """The act has operator, order and reason, and the states and other fields as details."""
    before, after = an_order(), an_order(status=OrderStatus.CANCELLED)
    act = operator_act(request_by("ops"), before, after)

    assert act is not None
    assert (act.action, act.actor, act.reason) == ("cancel_order", "adm_1", "fire")
    assert act.resource == f"order:{before.order_id}"
    assert act.details == {
        "statusBefore": before.status.value,
        "statusAfter": "CANCELLED",
        "fault": "VENDOR",
    }


@pytest.mark.parametrize("audience", ["user", "vendor", "rider", "engine"])
def test_acts_of_others_are_not_operators_acts(audience: str):
    """Parties of the order and the engine leave no audit record."""
    assert operator_act(request_by(audience), an_order(), an_order()) is None
