"""Orders called off on the way: who is paid for what he had done, and who pays it."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.wire import commands
from tests.dispatch.conftest import OrderScenario

pytestmark = pytest.mark.engines

# 8,000 of goods: 6,800 for the vendor, 1,500 for the way.
SHARES = {"vendor": 6_800, "rider": 1_500, "platform": 1_200}


async def order_at_stage(shop, stage, method="WALLET"):
    """An order that has come so far; its id."""
    order_id = await shop.place_order(method)
    await shop.accept_order(order_id)
    offers = await shop.make_offers(order_id, "rdr_1")
    await shop.accept_delivery(order_id, "rdr_1", offers["rdr_1"])
    vendor, rider = shop.caller("vendor", "ven_1"), shop.caller("rider", "rdr_1")
    steps = {
        "PREPARING": lambda: shop.order_service.order_preparing(
            vendor, commands.OrderPreparing(order_id=order_id)
        ),
        "READY": lambda: shop.order_service.order_ready(
            vendor, commands.OrderReady(order_id=order_id)
        ),
        "IN_TRANSIT": lambda: shop.order_service.pick_up(rider, commands.PickUp(order_id=order_id)),
    }
    for name in list(steps)[: list(steps).index(stage) + 1]:
        await steps[name]()
    return order_id


async def cancel_order(shop, order_id, fault, audience="ops"):
    command = commands.CancelOrder(order_id=order_id, fault=fault)
    await shop.order_service.cancel_order(shop.caller(audience, "usr_1"), command)


async def account_balances(shop):
    trial = await shop.statements.trial_balance()
    assert trial["total"] == 0
    return {row["account"]: row["balance"] for row in trial["accounts"]}


@pytest.mark.parametrize(
    ("stage", "fault", "parts"),
    [
        ("PREPARING", "PLATFORM", (3_400, 0, 100_000)),
        ("PREPARING", "CUSTOMER", (3_400, 0, 96_600)),
        ("READY", "VENDOR", (0, 750, 100_000)),
        ("READY", "CUSTOMER", (6_800, 750, 92_450)),
        ("IN_TRANSIT", "RIDER", (6_800, 0, 100_000)),
        ("IN_TRANSIT", "CUSTOMER", (6_800, 1_500, 90_500)),
    ],
)
async def test_cancellation_pays_for_work_done(order_scenario: OrderScenario, stage, fault, parts):
    """By the matrix: the customer pays for his own fault, the platform for every other."""
    order_id = await order_at_stage(order_scenario, stage)
    await cancel_order(order_scenario, order_id, fault)
    after = await account_balances(order_scenario)

    owners = (("VENDOR", "ven_1"), ("RIDER", "rdr_1"), ("USER", "usr_1"))
    assert tuple([await order_scenario.wallet_balance(*owner) for owner in owners]) == parts
    assert f"ORDER#{order_id}" not in after


async def test_cash_cancellation_by_customer_fault_becomes_a_receivable(
    order_scenario: OrderScenario,
):
    """Nothing was paid, vendor and rider get theirs, the customer owes it; the hold is gone."""
    order_id = await order_at_stage(order_scenario, "IN_TRANSIT", "CASH")
    await cancel_order(order_scenario, order_id, "CUSTOMER")
    after = await account_balances(order_scenario)

    assert after["RECEIVABLE#USER.usr_1"] == -sum(SHARES.values())
    assert await order_scenario.riders.cash_headroom("rdr_1") == 50_000
    assert (await order_scenario.ledger.get_funds(order_id)).funds_state == "CANCELLED"


async def test_a_customer_cannot_set_the_fault(order_scenario: OrderScenario):
    """Once the kitchen works he cannot call off, whatever he says; before that it is free."""
    order_id = await order_at_stage(order_scenario, "PREPARING")
    with pytest.raises(Refused) as raised:
        await cancel_order(order_scenario, order_id, "PLATFORM", "user")

    assert raised.value.code is Refusal.WRONG_STATE
