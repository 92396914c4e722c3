"""Orders in DynamoDB: versions, ownership, and the lists of each audience."""

import pytest
from msgspec.structs import replace

from dispatch.errors import Refusal, Refused
from dispatch.ids import OfferId, OrderId, RiderId
from dispatch.model import DispatchState, Order, OrderStatus
from dispatch.orders.store import (
    ConditionClause,
    OrderStore,
    from_item,
    insert_order,
    offered_to,
    order_key,
    order_shard,
    owned_by,
    update_order,
)
from dispatch.storage.paging import PageRequest
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import TransactionCancelled
from tests.factories import an_offer, an_order

pytestmark = pytest.mark.engines


async def insert(table: DynamoTable, number: int, **fields: object) -> Order:
    """A stored order, placed `number` milliseconds after the first."""
    usual = {"order_id": OrderId(f"ord_{number}"), "created_at": 1_000_000 + number}
    order = replace(an_order(), **{**usual, **fields})
    await table.transact([insert_order(order)])
    return order


def next_version(order: Order, **fields: object) -> Order:
    return replace(order, version=order.version + 1, **fields)


async def test_an_order_reads_back_as_it_was_written(table: DynamoTable):
    """Also from an item with attributes of a later version of the server."""
    order = await insert(table, 1)
    item = await table.get(order_key(order.order_id))
    assert item is not None

    assert await OrderStore(table).get(order.order_id) == order
    assert from_item({**item, "futureField": 1}) == order
    assert await OrderStore(table).get("ord_unknown") is None


async def test_an_order_is_inserted_once(table: DynamoTable):
    """The second order of the same id is refused."""
    order = await insert(table, 1)

    with pytest.raises(TransactionCancelled):
        await table.transact([insert_order(order)])


async def test_an_update_needs_the_version_that_was_read(table: DynamoTable):
    """It sets what differs and removes what is gone; of two updates the second is refused."""
    order = await insert(table, 1, notes="ring twice")
    update = update_order(order, next_version(order, status=OrderStatus.ACCEPTED, notes=None))
    await table.transact([update])
    after = await OrderStore(table).get(order.order_id)

    assert after is not None
    assert (after.version, after.status, after.notes) == (2, OrderStatus.ACCEPTED, None)
    with pytest.raises(TransactionCancelled):
        await table.transact([update])


@pytest.mark.parametrize(
    ("clause", "holds"),
    [
        (owned_by("user", "usr_1"), True),
        (owned_by("user", "usr_2"), False),
        (owned_by("vendor", "ven_1"), True),
        (owned_by("rider", "rdr_1"), False),
        (offered_to(RiderId("rdr_1"), "ofr_1", 2_018_000), True),
        (offered_to(RiderId("rdr_1"), "ofr_1", 2_018_001), False),
        (offered_to(RiderId("rdr_1"), "ofr_2", 2_000_000), False),
        (offered_to(RiderId("rdr_2"), "ofr_1", 2_000_000), False),
    ],
)
async def test_an_update_may_need_an_owner_or_an_open_offer(
    table: DynamoTable, clause: ConditionClause, holds: bool
):
    """The condition is about the stored order, not about what was read."""
    offers = {"rdr_1": an_offer(OfferId("ofr_1"), made_at_ms=2_000_000)}
    order = an_order(OrderStatus.ACCEPTED, DispatchState.OFFERED, offers=offers)
    await table.transact([insert_order(order)])
    try:
        await table.transact([update_order(order, next_version(order, rating=5), clause)])
        is_written = True
    except TransactionCancelled:
        is_written = False

    assert is_written is holds


async def test_unknown_orders_are_left_out_of_many(table: DynamoTable):
    """The known ones come in the order of their ids."""
    first, second = await insert(table, 1), await insert(table, 2)

    assert await OrderStore(table).get_many(["ord_2", "ord_9", "ord_1"]) == [second, first]


async def test_an_owners_list_is_newest_first_and_has_pages(table: DynamoTable):
    """Other owners' orders are not in it."""
    for number in range(3):
        await insert(table, number)
    await insert(table, 9, user_id="usr_2")
    orders = OrderStore(table)
    first, cursor = await orders.list_for("user", "usr_1", None, PageRequest(2))
    rest, end = await orders.list_for("user", "usr_1", None, PageRequest(2, cursor))

    assert [order.order_id for order in first] == ["ord_2", "ord_1"]
    assert [order.order_id for order in rest] == ["ord_0"]
    assert end is None


async def test_a_list_can_be_of_one_status(table: DynamoTable):
    """For vendors and riders alike."""
    await insert(table, 1)
    await insert(table, 2, status=OrderStatus.READY)
    ready, _ = await OrderStore(table).list_for("vendor", "ven_1", "READY", PageRequest(10))

    assert [order.order_id for order in ready] == ["ord_2"]


async def test_the_list_of_all_orders_has_the_open_ones_first(table: DynamoTable):
    """Read in pages of one, each order comes once."""
    for number, status in enumerate([OrderStatus.CANCELLED, OrderStatus.PENDING] * 3):
        await insert(table, number, status=status)
    orders = OrderStore(table)
    found, cursor = await orders.list_all(None, PageRequest(1))
    while cursor is not None:
        page, cursor = await orders.list_all(None, PageRequest(1, cursor))
        found += page
    stages = ["CLOSED" if order.is_terminal else "OPEN" for order in found]

    assert stages == ["OPEN"] * 3 + ["CLOSED"] * 3
    assert len({order.order_id for order in found}) == 6


@pytest.mark.parametrize(
    ("status", "count"), [("OPEN", 2), ("CLOSED", 1), ("READY", 1), ("CANCELLED", 1)]
)
async def test_the_list_of_all_orders_by_status(table: DynamoTable, status: str, count: int):
    """A status, or one of the two groups."""
    for number, each in enumerate([OrderStatus.PENDING, OrderStatus.READY, OrderStatus.CANCELLED]):
        await insert(table, number, status=each)
    found, _ = await OrderStore(table).list_all(status, PageRequest(10))

    assert len(found) == count


@pytest.mark.parametrize("cursor", ["x", "²²", "99.", "0"])
async def test_a_cursor_of_another_list_is_malformed(table: DynamoTable, cursor: str):
    """Neither list takes it."""
    orders = OrderStore(table)
    for read in (
        orders.list_all(None, PageRequest(10, cursor)),
        orders.list_for("user", "usr_1", None, PageRequest(10, cursor)),
    ):
        with pytest.raises(Refused) as refused:
            await read
        assert refused.value.code is Refusal.MALFORMED


async def test_old_pending_orders_are_found(table: DynamoTable):
    """Neither younger ones nor those of another status."""
    await insert(table, 0)
    await insert(table, 1, status=OrderStatus.ACCEPTED)
    await insert(table, 2)

    found = await OrderStore(table).pending_before(1_000_002)
    assert [order.order_id for order in found] == ["ord_0"]


async def test_open_orders_of_one_partition_or_all(table: DynamoTable):
    """The partitions add up to the whole; closed orders are left out."""
    placed = [await insert(table, number) for number in range(5)]
    await insert(table, 9, status=OrderStatus.REJECTED)
    orders = OrderStore(table)
    shard = order_shard(placed[0].order_id)
    everything = await orders.list_open()

    assert {order.order_id for order in everything} == {order.order_id for order in placed}
    assert await orders.list_open(shard) == [
        order for order in everything if order_shard(order.order_id) == shard
    ]
