"""Payments by a provider: what a confirmation and a failure do to an order."""

import pytest

from dispatch.model import PaymentState
from tests.dispatch.order_scenario import OrderScenario

pytestmark = pytest.mark.engines


async def test_a_confirmation_sends_the_order_to_the_vendor_once(order_scenario: OrderScenario):
    """A provider may repeat its report."""
    order_id = await order_scenario.place_order(method="MOBILE_MONEY")
    await order_scenario.order_service.payment_confirmed(order_id)
    await order_scenario.order_service.payment_confirmed(order_id)

    assert await order_scenario.event_names("vendor:ven_1") == ["new_order"]


async def test_a_late_payment_of_a_cancelled_order_goes_into_the_wallet(
    order_scenario: OrderScenario,
):
    """It is the customer's money, and credited once."""
    order_id = await order_scenario.place_order(method="MOBILE_MONEY")
    await order_scenario.cancel_order(order_id)
    await order_scenario.order_service.payment_confirmed(order_id)
    await order_scenario.order_service.payment_confirmed(order_id)

    assert await order_scenario.wallet_balance("USER", "usr_1") == 100_000 + 9_500


async def test_a_failed_payment_leaves_the_order_open(order_scenario: OrderScenario):
    """The customer is notified and may still pay."""
    order_id = await order_scenario.place_order(method="MOBILE_MONEY")
    await order_scenario.order_service.payment_failed(order_id, "PIN refused")

    assert (await order_scenario.order(order_id)).payment.state is PaymentState.FAILED
    assert await order_scenario.event_names("user:usr_1") == ["payment_failed"]
    await order_scenario.order_service.payment_confirmed(order_id)
    assert await order_scenario.event_names("vendor:ven_1") == ["new_order"]


async def test_a_failure_after_the_order_moved_on_changes_nothing(order_scenario: OrderScenario):
    """A report that comes out of order is ignored."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    before = await order_scenario.order(order_id)
    await order_scenario.order_service.payment_failed(order_id, None)

    assert await order_scenario.order(order_id) == before
