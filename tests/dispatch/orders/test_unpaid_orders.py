"""Unpaid orders: bounded in number and value, counted exactly, released by every end."""

import asyncio

import pytest
from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.ids import OrderId
from dispatch.model import PaymentState
from dispatch.orders.transitions.timeouts import PAYMENT_TIMEOUT_MS, VENDOR_TIMEOUT_MS
from dispatch.orders.unpaid_orders import UnpaidLimits, is_unpaid, unpaid_key, unpaid_writes
from dispatch.wire import commands
from dispatch.wire.http.base import PaymentMethodName
from tests.dispatch.order_scenario import OrderScenario
from tests.factories import a_cash_payment, an_order

pytestmark = pytest.mark.engines

# Two dishes and the fee. Units: whole XAF.
PRICE = 9_500
LIMITS = UnpaidLimits()


async def counted(scenario: OrderScenario) -> tuple[int, int]:
    """The customer's unpaid orders, and what they cost."""
    item = await scenario.table.get(unpaid_key("usr_1")) or {"unpaidOrders": 0, "unpaidXaf": 0}
    return item["unpaidOrders"], item["unpaidXaf"]


@pytest.mark.parametrize("method", ["CASH", "MOBILE_MONEY"])
async def test_unpaid_orders_are_limited_in_number(
    order_scenario: OrderScenario, method: PaymentMethodName
):
    """The fourth is refused, with the limits; a wallet pays at once and is not counted."""
    for _ in range(LIMITS.orders_max):
        await order_scenario.place_order(method=method)
    with pytest.raises(Refused) as refused:
        await order_scenario.place_order(method=method)
    assert refused.value.code is Refusal.UNPAID_LIMIT
    assert refused.value.details == {"ordersMax": 3, "valueMax": 100_000}
    await order_scenario.place_order(method="WALLET")
    assert await counted(order_scenario) == (3, 3 * PRICE)


async def test_unpaid_orders_are_limited_in_value(order_scenario: OrderScenario):
    """Together, and a single one that costs more than all may."""
    await order_scenario.place_order(method="CASH", quantity=12)
    for quantity in (13, 25):
        with pytest.raises(Refused) as refused:
            await order_scenario.place_order(method="CASH", quantity=quantity)
        assert refused.value.code is Refusal.UNPAID_LIMIT
    await order_scenario.place_order(method="CASH", quantity=11)
    assert await counted(order_scenario) == (2, 49_500 + 45_500)


async def test_concurrent_orders_do_not_exceed_the_limit(order_scenario: OrderScenario):
    """Of ten at once three are placed."""
    results = await asyncio.gather(
        *(order_scenario.place_order(method="CASH") for _ in range(10)), return_exceptions=True
    )
    refused = [each for each in results if isinstance(each, Refused)]
    assert {each.code for each in refused} == {Refusal.UNPAID_LIMIT}
    assert len(results) - len(refused) == LIMITS.orders_max
    assert await counted(order_scenario) == (3, 3 * PRICE)


async def deliver(scenario: OrderScenario, order_id: OrderId) -> None:
    await scenario.accept_order(order_id)
    await scenario.deliver(order_id)


async def cancel(scenario: OrderScenario, order_id: OrderId) -> None:
    await scenario.cancel_order(order_id)


async def reject(scenario: OrderScenario, order_id: OrderId) -> None:
    command = commands.RejectOrder(order_id=order_id, reason="closed")
    await scenario.order_service.reject_order(scenario.caller("vendor", "ven_1"), command)


async def cancel_by_operator(scenario: OrderScenario, order_id: OrderId) -> None:
    await scenario.accept_order(order_id)
    await scenario.assign(order_id)
    command = commands.CancelOrder(order_id=order_id, fault="RIDER")
    await scenario.order_service.cancel_order(scenario.caller("ops", "adm_1"), command)


async def time_out(scenario: OrderScenario, order_id: OrderId) -> None:
    scenario.clock.advance(max(PAYMENT_TIMEOUT_MS, VENDOR_TIMEOUT_MS))
    await scenario.order_service.time_out_order(order_id)


async def pay(scenario: OrderScenario, order_id: OrderId) -> None:
    await scenario.order_service.payment_confirmed(order_id)


async def fail_and_pay(scenario: OrderScenario, order_id: OrderId) -> None:
    await scenario.order_service.payment_failed(order_id, "no funds")
    assert await counted(scenario) == (1, PRICE)
    await scenario.order_service.payment_confirmed(order_id)


@pytest.mark.parametrize(
    ("method", "end"),
    [
        ("CASH", deliver),
        ("CASH", cancel),
        ("CASH", reject),
        ("CASH", cancel_by_operator),
        ("CASH", time_out),
        ("MOBILE_MONEY", pay),
        ("MOBILE_MONEY", fail_and_pay),
        ("MOBILE_MONEY", cancel),
        ("MOBILE_MONEY", time_out),
    ],
)
async def test_an_order_is_counted_until_it_is_paid_or_over(
    order_scenario: OrderScenario, method: PaymentMethodName, end
):
    """Every way in which an order stops being unpaid frees its place, once."""
    order_id = await order_scenario.place_order(method=method)
    assert await counted(order_scenario) == (1, PRICE)
    await end(order_scenario, order_id)
    assert await counted(order_scenario) == (0, 0)


async def test_a_repeated_order_is_counted_once(order_scenario: OrderScenario):
    """Ten copies under one key, at once and later."""
    copies = (order_scenario.place_order(method="CASH", key="same") for _ in range(10))
    ids = {*await asyncio.gather(*copies), await order_scenario.place_order("CASH", key="same")}
    assert len(ids) == 1
    assert await counted(order_scenario) == (1, PRICE)


def test_an_order_of_an_earlier_version_is_not_counted():
    """It was never added, so its end subtracts nothing."""
    order = replace(an_order(), payment=a_cash_payment())
    ended = replace(order, payment=replace(order.payment, state=PaymentState.VOID))
    assert not is_unpaid(order)
    assert unpaid_writes(order, ended, LIMITS) == []
