"""Delivered orders are settled by the queue at once, or by the sweep after ten seconds."""

from typing import cast

import pytest

from dispatch.errors import StoreUnavailable
from dispatch.money.settlement_worker import QUEUE_MAX, SWEEP_AFTER_MS, SettlementWorker
from dispatch.orders.service import OrderService
from ledger.dynamodb.table import TableUnavailable
from tests.dispatch.money.conftest import MoneyScenario
from tests.waiting import Until

pytestmark = pytest.mark.engines


async def test_a_queued_order_is_settled_at_once(money: MoneyScenario, until: Until):
    """Handed over, it is settled without a sweep."""
    order_id = await money.delivered_order()
    worker = money.orders.settlement_worker

    async def is_settled() -> bool:
        return await money.orders.status(order_id) == "FUNDS_DISTRIBUTED"

    async with until.running(worker.run):
        worker.enqueue(order_id)
        await until.eventually(is_settled)
    assert (await money.wallet("VENDOR", "ven_1"))[0] > 0


async def test_a_sweep_settles_what_was_delivered_ten_seconds_ago(money: MoneyScenario):
    """Before that the queue may still do it; a second sweep finds nothing."""
    order_id = await money.delivered_order()
    worker = money.orders.settlement_worker
    assert await worker.sweep_once() == 0
    money.clock.advance(SWEEP_AFTER_MS)
    assert await worker.sweep_once() == 1
    assert await money.orders.status(order_id) == "FUNDS_DISTRIBUTED"
    assert await worker.sweep_once() == 0


class UnavailableOrders:
    """An order service whose table is unavailable."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.asked: list[str] = []

    async def settle(self, order_id: str) -> None:
        self.asked.append(order_id)
        raise self.error


@pytest.mark.parametrize("error", [TableUnavailable("away"), StoreUnavailable("dynamodb", "away")])
async def test_an_unavailable_table_leaves_the_order_to_the_sweep(
    money: MoneyScenario, error: Exception
):
    """The error is not raised: the worker goes on with the next order."""
    orders = UnavailableOrders(error)
    worker = SettlementWorker(cast("OrderService", orders), money.ledger, money.clock)
    await worker.settle("ord_1")
    assert orders.asked == ["ord_1"]


async def test_a_full_queue_leaves_orders_to_the_sweep(money: MoneyScenario, until: Until):
    """Above its bound nothing is queued, nothing blocks, and what is queued is settled."""
    orders = UnavailableOrders(StoreUnavailable("dynamodb", "away"))
    worker = SettlementWorker(cast("OrderService", orders), money.ledger, money.clock)
    for number in range(QUEUE_MAX + 5):
        worker.enqueue(f"ord_{number}")
    async with until.running(worker.run):
        await until.true(lambda: len(orders.asked) >= QUEUE_MAX)

    assert len(orders.asked) == QUEUE_MAX
    assert f"ord_{QUEUE_MAX}" not in orders.asked
