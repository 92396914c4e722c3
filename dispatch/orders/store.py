"""Orders in DynamoDB: one item an order, one conditional write a transition, and their lists."""

from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch.ids import RiderId
from dispatch.model import TERMINAL_STATUSES, Order, OrderStatus
from dispatch.storage.paging import (
    PageRequest,
    next_shard_cursor,
    parse_shard_cursor,
    wrong_cursor,
)
from dispatch.storage.sharded_list import shard_of
from ledger.dynamodb.table import (
    Item,
    Key,
    Page,
    Put,
    Query,
    Table,
    Update,
    time_sort_key,
)

# Partitions of the list of all orders.
# Source: 16 partitions take 16,000 writes/s on DynamoDB (1,000 each), more than one city's orders.
SHARDS = 16
# Orders in one page of the oldest pending orders.
PENDING_PAGE_SIZE = 50
# Orders in one page of all open orders: decoding it holds the event loop for 4 ms.
OPEN_PAGE_SIZE = 32

_INDEX = {"user": "GSI1", "vendor": "GSI2", "rider": "GSI3"}
# The attribute in which an order names its user, vendor or rider.
_OWNER_PATH = {"user": ("userId",), "vendor": ("vendorId",), "rider": ("dispatch", "riderId")}


class ConditionClause(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on the stored order, with its attribute names and values."""

    expression: str
    names: dict[str, str] = {}
    values: dict[str, Any] = {}


def order_shard(order_id: str) -> int:
    """The shard of the list of all orders that holds an order."""
    return shard_of(order_id, SHARDS)


def order_key(order_id: str) -> Key:
    """The primary key of an order's item."""
    return Key(f"ORDER#{order_id}", "METADATA")


def owned_by(audience: str, owner: str) -> ConditionClause:
    """The condition that the order belongs to `owner`, one of `audience`, when it is written."""
    path = _OWNER_PATH[audience]
    names = {f"#o{i}": part for i, part in enumerate(path)}
    return ConditionClause(
        expression=".".join(names) + " = :owner", names=names, values={":owner": owner}
    )


def offered_to(rider_id: RiderId, offer_id: str, now_ms: int) -> ConditionClause:
    """The condition that this offer to the rider is open and not past its deadline.

    Units: Unix milliseconds.
    """
    return ConditionClause(
        expression="#od.#of.#ri.#oi = :offer AND #od.#of.#ri.#dl >= :now",
        names={
            "#od": "dispatch",
            "#of": "offers",
            "#ri": rider_id,
            "#oi": "offerId",
            "#dl": "deadlineMs",
        },
        values={":offer": offer_id, ":now": now_ms},
    )


def insert_order(order: Order) -> Put:
    """The write of a new order; its condition is that the order does not exist."""
    key = order_key(order.order_id)
    item = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(order), **_index_keys(order)}
    return Put(item=item, condition="attribute_not_exists(PK)")


def update_order(before: Order, after: Order, clause: ConditionClause | None = None) -> Update:
    """The write that takes an order from one version to the next.

    DynamoDB: one Update of the attributes that differ; its condition is the version, and `clause`.
    """
    assert after.version == before.version + 1, "a transition is one version"
    old = {**msgspec.to_builtins(before), **_index_keys(before)}
    new = {**msgspec.to_builtins(after), **_index_keys(after)}
    assert old["orderId"] == new["orderId"]
    changed = sorted(name for name, value in new.items() if old.get(name) != value)
    removed = sorted(old.keys() - new.keys())
    names = {f"#s{i}": name for i, name in enumerate([*changed, *removed])}
    values = {f":s{i}": new[name] for i, name in enumerate(changed)}
    placeholders = list(names)
    sets = ", ".join(f"{placeholders[i]} = :s{i}" for i in range(len(changed)))
    removes = ", ".join(placeholders[len(changed) :])
    condition = "#ver = :ver" + (f" AND {clause.expression}" if clause else "")
    return Update(
        key=order_key(before.order_id),
        expression=f"SET {sets}" + (f" REMOVE {removes}" if removes else ""),
        condition=condition,
        names={**names, "#ver": "version", **(clause.names if clause else {})},
        values={**values, ":ver": before.version, **(clause.values if clause else {})},
    )


def _index_keys(order: Order) -> dict[str, str]:
    sort_key = f"ORDER#{time_sort_key(order.created_at, order.order_id)}"
    keys = {"GSI1PK": f"USER#{order.user_id}#ORDERS", "GSI1SK": sort_key}
    if order.vendor_id is not None:
        keys |= {"GSI2PK": f"VENDOR#{order.vendor_id}#ORDERS", "GSI2SK": sort_key}
    if order.rider_id is not None:
        keys |= {"GSI3PK": f"RIDER#{order.rider_id}#ORDERS", "GSI3SK": sort_key}
    stage = "CLOSED" if order.is_terminal else "OPEN"
    keys |= {"GSI4PK": f"ORDERS#{stage}#{order_shard(order.order_id)}", "GSI4SK": sort_key}
    return keys


def from_item(item: Item) -> Order:
    """Decode an order's item; attributes of later versions of the server are ignored."""
    return msgspec.convert(item, Order, strict=False)


class OrderStore:
    """Reads orders; the writes are built by the functions above and sent in transactions.

    Errors: every method raises TableUnavailable where DynamoDB does not answer.
    """

    def __init__(self, table: Table) -> None:
        self._table = table

    async def get(self, order_id: str) -> Order | None:
        """One order.

        DynamoDB: GetItem, consistent, one round trip.
        """
        item = await self._table.get(order_key(order_id))
        return None if item is None else from_item(item)

    async def get_many(self, order_ids: Sequence[str]) -> list[Order]:
        """The orders with these ids; unknown ids are left out.

        DynamoDB: BatchGetItem, consistent, one round trip for each hundred.
        """
        items = await self._table.get_many([order_key(each) for each in order_ids])
        return [from_item(item) for item in items if item is not None]

    async def list_for(
        self, audience: str, owner: str, status: str | None, page: PageRequest
    ) -> tuple[list[Order], str | None]:
        """One page of a user's, vendor's or rider's orders, newest first, and the next cursor.

        Errors: Refused MALFORMED for a cursor of another list.
        DynamoDB: Query of the audience's index, one round trip for each page of the index.
        """
        partition = f"{audience.upper()}#{owner}#ORDERS"
        found = await self._query_page(partition, _INDEX[audience], status, page)
        return [from_item(item) for item in found.items], found.cursor

    async def _query_page(
        self, partition: str, index: str, status: str | None, page: PageRequest
    ) -> Page:
        query = Query(
            pk=partition,
            prefix="ORDER#",
            index=index,
            limit=page.limit,
            cursor=page.cursor,
            forward=False,
            equals={"status": status} if status else {},
        )
        try:
            return await self._table.query(query)
        except ValueError as error:
            raise wrong_cursor() from error

    async def list_all(
        self, status: str | None, page: PageRequest
    ) -> tuple[list[Order], str | None]:
        """One page of all orders for operators, newest first in each partition; the next cursor.

        `status` is an order status, or "OPEN" or "CLOSED"; without it the open orders come first.

        Errors: Refused MALFORMED for a cursor of another list.
        DynamoDB: Query of GSI4, one or more for each partition that the page touches.
        """
        partitions = [
            f"ORDERS#{stage}#{shard}" for stage in _stages(status) for shard in range(SHARDS)
        ]
        index, inner = parse_shard_cursor(page.cursor, len(partitions))
        exact_status = status if status in set(OrderStatus) else None
        orders: list[Order] = []
        while index < len(partitions) and len(orders) < page.limit:
            rest = PageRequest(page.limit - len(orders), inner)
            found = await self._query_page(partitions[index], "GSI4", exact_status, rest)
            orders.extend(from_item(item) for item in found.items)
            inner = found.cursor
            index += inner is None
        return orders, next_shard_cursor(index, inner, len(partitions))

    async def pending_before(self, placed_ms: int) -> list[Order]:
        """Orders that are PENDING and were placed before that time. Units: Unix milliseconds.

        DynamoDB: Query of GSI4 for each partition, oldest first; the index may lag.
        """
        orders: list[Order] = []
        for shard in range(SHARDS):
            orders += await self._pending_in(shard, placed_ms)
        return orders

    async def _pending_in(self, shard: int, placed_ms: int) -> list[Order]:
        found: list[Order] = []
        cursor: str | None = None
        while True:
            query = Query(
                pk=f"ORDERS#OPEN#{shard}",
                index="GSI4",
                limit=PENDING_PAGE_SIZE,
                cursor=cursor,
                equals={"status": OrderStatus.PENDING.value},
            )
            page = await self._table.query(query)
            orders = [from_item(item) for item in page.items]
            old = [order for order in orders if order.created_at < placed_ms]
            found += old
            cursor = page.cursor
            if cursor is None or len(old) < len(orders):
                return found

    async def list_open(self, shard: int | None = None) -> list[Order]:
        """Every open order, of one partition or of all; to rebuild what Redis has lost.

        DynamoDB: Query of GSI4, one for each partition and 32 orders; the index may lag.
        """
        orders: list[Order] = []
        for each in range(SHARDS) if shard is None else (shard,):
            cursor: str | None = None
            while True:
                page = await self._query_page(
                    f"ORDERS#OPEN#{each}", "GSI4", None, PageRequest(OPEN_PAGE_SIZE, cursor)
                )
                orders.extend(from_item(item) for item in page.items)
                cursor = page.cursor
                if cursor is None:
                    break
        return orders


def _stages(status: str | None) -> Sequence[str]:
    if status is None:
        return ("OPEN", "CLOSED")
    if status in ("OPEN", "CLOSED"):
        return (status,)
    return ("CLOSED",) if status in TERMINAL_STATUSES else ("OPEN",)
