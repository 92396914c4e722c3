"""Checkout: placing orders that are paid from the wallet, in cash, or by mobile money."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.money.checkout import Checkout
from dispatch.money.payment_store import PaymentStore
from dispatch.money.payments import PaymentService, PaymentSources
from dispatch.wire.http.base import PaymentMethodName
from dispatch.wire.http.orders import BasketItem, GoodsOrder
from tests.dispatch.order_scenario import DELIVERY_ADDRESS, OrderScenario

pytestmark = pytest.mark.engines


def checkout(scenario: OrderScenario, *, sandbox: bool) -> Checkout:
    """A checkout whose MOBILE_MONEY provider is the sandbox, which may be disabled."""
    sources = PaymentSources(sandbox=sandbox, webhooks=False)
    store = PaymentStore(scenario.table, scenario.clock)
    payments = PaymentService(
        store, scenario.ledger, scenario.order_service, sources, scenario.statements
    )
    return Checkout(scenario.order_service, payments, "sandbox")


def an_order(method: PaymentMethodName) -> GoodsOrder:
    return GoodsOrder(
        order_type="FOOD",
        vendor_id="ven_1",
        items=[BasketItem(item_id="ndole", quantity=1)],
        delivery_address=DELIVERY_ADDRESS,
        payment_method=method,
    )


async def test_a_mobile_money_order_is_paid_by_the_sandbox(order_scenario: OrderScenario):
    """The answer says PENDING, and the stored order is paid."""
    caller = order_scenario.caller("user", "usr_1")
    placed = await checkout(order_scenario, sandbox=True).place_order(
        caller, an_order("MOBILE_MONEY")
    )
    stored = await order_scenario.orders.get(placed["orderId"])

    assert placed["payment"]["state"] == "PENDING"
    assert stored.payment.state.value == "CAPTURED"


async def test_without_a_provider_a_mobile_money_order_is_refused(order_scenario: OrderScenario):
    """SERVICE_DISABLED, and no order is stored."""
    caller = order_scenario.caller("user", "usr_1")
    with pytest.raises(Refused) as refused:
        await checkout(order_scenario, sandbox=False).place_order(caller, an_order("MOBILE_MONEY"))

    assert refused.value.code is Refusal.SERVICE_DISABLED
    assert await order_scenario.orders.list_open() == []


@pytest.mark.parametrize(("method", "state"), [("WALLET", "CAPTURED"), ("CASH", "DUE")])
async def test_other_orders_need_no_provider(
    order_scenario: OrderScenario, method: PaymentMethodName, state: str
):
    """A wallet order is paid when it is placed, a cash order at the door."""
    caller = order_scenario.caller("user", "usr_1")
    placed = await checkout(order_scenario, sandbox=False).place_order(caller, an_order(method))

    assert placed["payment"]["state"] == state
