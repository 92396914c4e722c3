"""Cash that differs from the price: what the order, the books and the operators' alerts say."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from dispatch import settings
from dispatch.errors import Refused
from dispatch.events.outbox import SHARDS, OutboxEntry
from dispatch.storage.redis_client import RedisClients
from dispatch.wire import commands
from ledger.core.accounts import balance_key
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query
from tests.handlers.delivery_flow import RIDER, accept_delivery, deliver, deliver_cash_order
from tests.handlers.http_api import ADA, ADMIN, AWA, ApiClient, goods_order, run_api

pytestmark = pytest.mark.engines
# 5,000 for the goods and 1,500 for the delivery.
TOTAL = 6_500


@pytest.fixture
async def api_where_customers_owe(
    table: DynamoTable, redis: RedisClients
) -> AsyncIterator[ApiClient]:
    """Endpoints of a company whose customers owe what they did not pay."""
    chosen = settings.read({"RATE_LIMITS": "off", "CASH_SHORTAGE": "customer"}, dev=True)
    async with run_api(table, redis, chosen) as client:
        yield client


async def booked(api: ApiClient) -> dict[str, int]:
    """What the rider and the customer owe, and what the customer's wallet has; below zero: owed."""
    accounts = {
        "rider": f"RIDERCASH#{AWA[1]}",
        "debt": f"RECEIVABLE#USER.{ADA[1]}",
        "wallet": f"USER#{ADA[1]}",
    }
    items = await api.table.get_many([balance_key(each) for each in accounts.values()])
    return {name: item["posted"] if item else 0 for name, item in zip(accounts, items, strict=True)}


async def raised(api: ApiClient) -> list[tuple[str, str | None]]:
    """The alerts of the entries that wait for the relay."""
    entries = [
        entry
        for shard in range(SHARDS)
        for entry in (await api.table.query(Query(pk=f"OUTBOX#{shard}"))).items
    ]
    decoded = [msgspec.json.decode(each["entry"], type=OutboxEntry) for each in entries]
    return [(alert.kind, alert.order_id) for entry in decoded for alert in entry.alerts]


@pytest.mark.parametrize(
    ("cash", "rider_owes", "difference"),
    [
        (None, TOTAL, None),
        (TOTAL, TOTAL, None),
        (6_000, TOTAL, {"amount": -500, "bookedTo": "RIDER"}),
        (0, TOTAL, {"amount": -TOTAL, "bookedTo": "RIDER"}),
    ],
)
async def test_a_shortage_is_the_riders_at_first(
    api: ApiClient, cash: int | None, rider_owes: int, difference: dict[str, Any] | None
):
    """The order shows it, the rider owes the whole price, operators are alerted, books balance."""
    order_id = await deliver_cash_order(api, cash)
    payment = (await api.request(ADMIN, f"GET /orders/{order_id}")).data["payment"]

    assert payment["collected"] == (TOTAL if cash is None else cash)
    assert payment.get("difference") == difference
    assert await booked(api) == {"rider": -rider_owes, "debt": 0, "wallet": 0}
    assert await raised(api) == ([("cash_differs", order_id)] if difference else [])
    assert await api.trial_balance_total() == 0


async def test_a_shortage_is_the_customers_where_the_company_says_so(
    api_where_customers_owe: ApiClient,
):
    """The rider owes what it collected, the customer the rest."""
    api = api_where_customers_owe
    order_id = await deliver_cash_order(api, 6_000)
    payment = (await api.request(ADA, f"GET /orders/{order_id}")).data["payment"]

    assert payment["difference"] == {"amount": -500, "bookedTo": "CUSTOMER"}
    assert await booked(api) == {"rider": -6_000, "debt": -500, "wallet": 0}
    assert await api.trial_balance_total() == 0


async def test_what_is_too_much_is_the_customers(api: ApiClient):
    """The rider owes what it collected, and the customer may spend the rest."""
    await deliver_cash_order(api, 7_000)
    lines = (await api.request(ADA, "GET /wallet/transactions")).data["items"]

    assert await booked(api) == {"rider": -7_000, "debt": 0, "wallet": 500}
    assert [(line["amount"], line["category"]) for line in lines] == [(500, "CASH_OVERPAID")]
    assert await api.available_xaf(ADA) == 500
    assert await api.trial_balance_total() == 0


async def test_cash_for_a_paid_order_moves_no_money(api: ApiClient):
    """The order shows it, operators are alerted, and nothing is booked."""
    await api.open_shop()
    await api.fund(ADA, 10_000)
    order_id = (await api.request(ADA, "POST /orders", goods_order())).data["orderId"]
    await deliver(api, order_id, 4_000)
    payment = (await api.request(ADMIN, f"GET /orders/{order_id}")).data["payment"]

    assert payment["collected"] == 4_000
    assert payment["difference"] == {"amount": 4_000, "bookedTo": "NONE"}
    assert await booked(api) == {"rider": 0, "debt": 0, "wallet": 10_000 - TOTAL}
    assert await raised(api) == [("cash_differs", order_id)]
    assert await api.trial_balance_total() == 0


async def test_a_sum_that_cannot_be_is_refused(api: ApiClient):
    """The delivery can be completed with another sum afterwards."""
    await api.open_shop()
    order = (await api.request(ADA, "POST /orders", goods_order(method="CASH"))).data
    order_id = order["orderId"]
    await accept_delivery(api, order_id)
    orders = api.services.order_service
    await orders.pick_up(RIDER, commands.PickUp(order_id=order_id))
    with pytest.raises(Refused, match="at most 10000 XAF above the price"):
        await orders.complete_delivery(
            RIDER, commands.CompleteDelivery(order_id=order_id, cash_collected=65_000)
        )
    await orders.complete_delivery(
        RIDER, commands.CompleteDelivery(order_id=order_id, cash_collected=TOTAL)
    )
    assert (await api.request(AWA, f"GET /orders/{order_id}")).data["status"] == "DELIVERED"
