"""Ends of orders: who is paid after a cancellation, settlement, timeout, rating."""

import asyncio

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.ids import OrderId
from dispatch.orders.transitions.timeouts import VENDOR_TIMEOUT_MS
from dispatch.riders.store import workload_key
from dispatch.wire import commands
from dispatch.wire.commands import FaultParty
from dispatch.wire.http.base import PaymentMethodName
from tests.dispatch.order_scenario import OrderScenario
from tests.dispatch.orders.refusals import refusal_of

pytestmark = pytest.mark.engines

# 8,000 of goods: 6,800 for the vendor, 1,200 for the platform, and 1,500 for the delivery.
SHARES = {"vendor": 6_800, "rider": 1_500, "platform": 1_200}


async def order_at_stage(
    scenario: OrderScenario, stage: str, method: PaymentMethodName = "WALLET"
) -> OrderId:
    """An assigned order that has come to a stage."""
    order_id = await scenario.place_order(method)
    await scenario.accept_order(order_id)
    await scenario.assign(order_id)
    vendor, rider = scenario.caller("vendor", "ven_1"), scenario.caller("rider", "rdr_1")
    service = scenario.order_service
    steps = {
        "PREPARING": lambda: service.order_preparing(
            vendor, commands.OrderPreparing(order_id=order_id)
        ),
        "READY": lambda: service.order_ready(vendor, commands.OrderReady(order_id=order_id)),
        "IN_TRANSIT": lambda: service.pick_up(rider, commands.PickUp(order_id=order_id)),
    }
    for name in list(steps)[: list(steps).index(stage) + 1]:
        await steps[name]()
    return order_id


async def cancel_with_fault(
    scenario: OrderScenario, order_id: OrderId, fault: FaultParty, audience: str = "ops"
) -> None:
    command = commands.CancelOrder(order_id=order_id, fault=fault)
    await scenario.order_service.cancel_order(scenario.caller(audience, "usr_1"), command)


@pytest.mark.parametrize(
    ("stage", "fault", "balances"),
    [
        ("PREPARING", "PLATFORM", (3_400, 0, 100_000)),
        ("PREPARING", "CUSTOMER", (3_400, 0, 96_600)),
        ("READY", "VENDOR", (0, 750, 100_000)),
        ("READY", "CUSTOMER", (6_800, 750, 92_450)),
        ("IN_TRANSIT", "RIDER", (6_800, 0, 100_000)),
        ("IN_TRANSIT", "CUSTOMER", (6_800, 1_500, 90_500)),
    ],
)
async def test_cancellation_pays_for_work_done(
    order_scenario: OrderScenario, stage: str, fault: FaultParty, balances: tuple[int, int, int]
):
    """By the matrix: a customer pays for its own fault, the platform for every other."""
    order_id = await order_at_stage(order_scenario, stage)
    await cancel_with_fault(order_scenario, order_id, fault)
    accounts = await order_scenario.account_balances()
    owners = (("VENDOR", "ven_1"), ("RIDER", "rdr_1"), ("USER", "usr_1"))

    assert tuple([await order_scenario.wallet_balance(*owner) for owner in owners]) == balances
    assert f"ORDER#{order_id}" not in accounts


async def test_cash_cancellation_by_customer_fault_becomes_a_receivable(
    order_scenario: OrderScenario,
):
    """Vendor and rider are paid, the customer owes it, and the rider's cash hold is gone."""
    order_id = await order_at_stage(order_scenario, "IN_TRANSIT", "CASH")
    await cancel_with_fault(order_scenario, order_id, "CUSTOMER")
    accounts = await order_scenario.account_balances()
    funds = await order_scenario.ledger.get_funds(order_id)

    assert accounts["RECEIVABLE#USER.usr_1"] == -sum(SHARES.values())
    assert await order_scenario.riders.cash_headroom("rdr_1") == 50_000
    assert funds is not None
    assert funds.funds_state == "CANCELLED"


async def test_a_customer_cannot_cancel_late_by_blaming_another(order_scenario: OrderScenario):
    """Once the preparation has begun the fault in a customer's command changes nothing."""
    order_id = await order_at_stage(order_scenario, "PREPARING")
    with pytest.raises(Refused) as refused:
        await cancel_with_fault(order_scenario, order_id, "PLATFORM", "user")

    assert refused.value.code is Refusal.WRONG_STATE


async def test_cancellation_returns_money_stock_and_rider(order_scenario: OrderScenario):
    """Wallet, stock and the rider's workload are as they were before the placement."""
    await order_scenario.open_vendor(stock=10)
    before = await order_scenario.wallet_balance("USER", "usr_1")
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.assign(order_id)
    await order_scenario.cancel_order(order_id)
    items = await order_scenario.catalogue.items_by_id("ven_1", ["ndole"])

    assert await order_scenario.status(order_id) == "CANCELLED"
    assert (await order_scenario.riders.workload("rdr_1")).orders == ()
    assert items["ndole"].stock == 10
    assert await order_scenario.wallet_balance("USER", "usr_1") == before
    assert sum((await order_scenario.account_balances()).values()) == 0


async def test_cancel_and_accept_at_once_end_cancelled(order_scenario: OrderScenario):
    """Whichever comes first: the rider is free and the customer has the money back."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    offers = await order_scenario.make_offers(order_id, "rdr_1")
    await asyncio.gather(
        refusal_of(order_scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"])),
        refusal_of(order_scenario.cancel_order(order_id)),
    )

    assert await order_scenario.status(order_id) == "CANCELLED"
    assert (await order_scenario.riders.workload("rdr_1")).orders == ()
    assert await order_scenario.wallet_balance("USER", "usr_1") == 100_000


async def test_a_timeout_gives_back_what_was_paid(order_scenario: OrderScenario):
    """A silent vendor costs the customer nothing."""
    order_id = await order_scenario.place_order()
    order_scenario.clock.advance(VENDOR_TIMEOUT_MS)
    await order_scenario.order_service.time_out_order(order_id)

    assert await order_scenario.status(order_id) == "CANCELLED"
    assert await order_scenario.wallet_balance("USER", "usr_1") == 100_000


async def test_a_settlement_does_not_read_the_funds_it_splits(
    order_scenario: OrderScenario, monkeypatch: pytest.MonkeyPatch
):
    """The funds that the order implies are verified by a condition, so nothing is read first."""
    for method in ("WALLET", "CASH"):
        order_id = await order_scenario.place_order(method=method)
        await order_scenario.accept_order(order_id)
        await order_scenario.deliver(order_id)
        reads: list[str] = []
        with monkeypatch.context() as patch:
            patch.setattr(order_scenario.ledger, "get_funds", reads.append)
            await order_scenario.order_service.settle(order_id)

        assert reads == []
        assert await order_scenario.status(order_id) == "FUNDS_DISTRIBUTED"


async def test_an_unsettled_delivery_is_swept(order_scenario: OrderScenario):
    """The settlement sweep finds a delivery that no node has settled, once."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.deliver(order_id)
    order_scenario.clock.advance(10_001)

    assert await order_scenario.settlement_worker.sweep_once() == 1
    assert await order_scenario.settlement_worker.sweep_once() == 0
    assert await order_scenario.status(order_id) == "FUNDS_DISTRIBUTED"


async def test_a_rating_counts_for_the_rider_once(order_scenario: OrderScenario):
    """The second rating of an order is refused, and the first one stays."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.deliver(order_id)
    customer = order_scenario.caller("user", "usr_1")
    service = order_scenario.order_service
    await service.rate_order(customer, commands.RateOrder(order_id=order_id, rating=5))
    with pytest.raises(Refused, match="rated this order already"):
        await service.rate_order(customer, commands.RateOrder(order_id=order_id, rating=1))
    item = await order_scenario.table.get(workload_key("rdr_1"))

    assert item is not None
    assert (item["stars"], item["ratings"]) == (5, 1)
