"""Orders called off on the way: who is paid for what he had done, and who pays it."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.wire import commands
from tests.dispatch.conftest import Shop

pytestmark = pytest.mark.engines

# 8,000 of goods: 6,800 for the vendor, 1,500 for the way.
SHARES = {"vendor": 6_800, "rider": 1_500, "platform": 1_200}


async def bring(shop, stage, method="WALLET"):
    """An order that has come so far; its id."""
    order_id = await shop.place(method)
    await shop.accept(order_id)
    offers = await shop.offer(order_id, "rdr_1")
    await shop.take(order_id, "rdr_1", offers["rdr_1"])
    vendor, rider = shop.as_("vendor", "ven_1"), shop.as_("rider", "rdr_1")
    steps = {
        "PREPARING": lambda: shop.flow.order_preparing(
            vendor, commands.OrderPreparing(order_id=order_id)
        ),
        "READY": lambda: shop.flow.order_ready(vendor, commands.OrderReady(order_id=order_id)),
        "IN_TRANSIT": lambda: shop.flow.pick_up(rider, commands.PickUp(order_id=order_id)),
    }
    for name in list(steps)[: list(steps).index(stage) + 1]:
        await steps[name]()
    return order_id


async def call_off(shop, order_id, fault, audience="ops"):
    command = commands.CancelOrder(order_id=order_id, fault=fault)
    await shop.flow.cancel_order(shop.as_(audience, "usr_1"), command)


async def books(shop):
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
async def test_who_had_worked_is_paid(shop: Shop, stage, fault, parts):
    """By the matrix: the customer pays for his own fault, the platform for every other."""
    order_id = await bring(shop, stage)
    await call_off(shop, order_id, fault)
    after = await books(shop)

    owners = (("VENDOR", "ven_1"), ("RIDER", "rdr_1"), ("USER", "usr_1"))
    assert tuple([await shop.has(*owner) for owner in owners]) == parts
    assert f"ORDER#{order_id}" not in after


async def test_the_fault_of_a_customer_who_pays_cash_is_his_debt(shop: Shop):
    """Nothing was paid, vendor and rider get theirs, the customer owes it; the hold is gone."""
    order_id = await bring(shop, "IN_TRANSIT", "CASH")
    await call_off(shop, order_id, "CUSTOMER")
    after = await books(shop)

    assert after["RECEIVABLE#USER.usr_1"] == -sum(SHARES.values())
    assert await shop.riders.cash_headroom("rdr_1") == 50_000
    assert (await shop.ledger.fin(order_id)).fin_state == "CANCELLED"


async def test_a_customer_does_not_name_the_fault(shop: Shop):
    """Once the kitchen works he cannot call off, whatever he says; before that it is free."""
    order_id = await bring(shop, "PREPARING")
    with pytest.raises(Refused) as raised:
        await call_off(shop, order_id, "PLATFORM", "user")

    assert raised.value.code is Refusal.WRONG_STATE
