"""Orders in DynamoDB: one item an order, one conditional write a step, and the lists of each side.

Step 3 of an order's way: orders.machine decides -> [here] writes -> outbox tells.
"""

from collections.abc import Sequence
from typing import Any
from zlib import crc32

import msgspec

from dispatch.errors import Refusal, Refused
from dispatch.model import Order, OrderStatus
from dispatch.storage.paging import PageRequest, next_shard_cursor, parse_shard_cursor
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

# Source: 16 partitions take 16,000 writes/s on DynamoDB, above any single city's orders.
SHARDS = 16
# Orders read at a time where the oldest of them are looked for.
PENDING_PAGE_SIZE = 50
# A page of whole orders takes this process 4 ms; positions have their turn before the next.
OPEN_PAGE_SIZE = 32

_INDEX = {"user": "GSI1", "vendor": "GSI2", "rider": "GSI3"}
# What the caller's audience must find of itself in the order, for the write to go through.
_OWNER_PATH = {"user": ("userId",), "vendor": ("vendorId",), "rider": ("dispatch", "riderId")}


class ConditionClause(msgspec.Struct, frozen=True, kw_only=True):
    """A condition on the order as it stands, with its names and values."""

    expression: str
    names: dict[str, str] = {}
    values: dict[str, Any] = {}


def shard_of(text: str) -> int:
    """A stable shard of an id. Source: CRC-32, ISO 3309; spread matters here, not secrecy."""
    return crc32(text.encode()) % SHARDS


def order_key(order_id: str) -> Key:
    """Where an order is kept."""
    return Key(f"ORDER#{order_id}", "METADATA")


def owned_by(audience: str, owner: str) -> ConditionClause:
    """The order belongs to `owner` at the moment of the write."""
    path = _OWNER_PATH[audience]
    names = {f"#o{i}": part for i, part in enumerate(path)}
    return ConditionClause(
        expression=".".join(names) + " = :owner", names=names, values={":owner": owner}
    )


def offered_to(rider: str, offer_id: str, now_ms: int) -> ConditionClause:
    """The order offers itself to `rider` under this very offer, whose time is not over."""
    return ConditionClause(
        expression="#od.#of.#ri.#oi = :offer AND #od.#of.#ri.#dl >= :now",
        names={
            "#od": "dispatch",
            "#of": "offers",
            "#ri": rider,
            "#oi": "offerId",
            "#dl": "deadlineMs",
        },
        values={":offer": offer_id, ":now": now_ms},
    )


def insert_order(order: Order) -> Put:
    """The write that brings a new order in."""
    key = order_key(order.order_id)
    item = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(order), **_index_keys(order)}
    return Put(item=item, condition="attribute_not_exists(PK)")


def update_order(before: Order, after: Order, clause: ConditionClause | None = None) -> Update:
    """The write that takes an order from one version to the next; only what differs is set.

    DynamoDB: one Update; the condition holds the version and, by `clause`, the ownership.
    """
    assert after.version == before.version + 1, "a step is one version"
    old = {**msgspec.to_builtins(before), **_index_keys(before)}
    new = {**msgspec.to_builtins(after), **_index_keys(after)}
    assert old["orderId"] == new["orderId"]
    changed = sorted(name for name, value in new.items() if old.get(name) != value)
    gone = sorted(old.keys() - new.keys())
    names = {f"#s{i}": name for i, name in enumerate([*changed, *gone])}
    values = {f":s{i}": new[name] for i, name in enumerate(changed)}
    spelled = list(names)
    sets = ", ".join(f"{spelled[i]} = :s{i}" for i in range(len(changed)))
    removes = ", ".join(spelled[len(changed) :])
    condition = "#ver = :ver" + (f" AND {clause.expression}" if clause else "")
    return Update(
        key=order_key(before.order_id),
        expression=f"SET {sets}" + (f" REMOVE {removes}" if removes else ""),
        condition=condition,
        names={**names, "#ver": "version", **(clause.names if clause else {})},
        values={**values, ":ver": before.version, **(clause.values if clause else {})},
    )


def _index_keys(order: Order) -> dict[str, str]:
    moment = f"ORDER#{time_sort_key(order.created_at, order.order_id)}"
    keys = {"GSI1PK": f"USER#{order.user_id}#ORDERS", "GSI1SK": moment}
    if order.vendor_id is not None:
        keys |= {"GSI2PK": f"VENDOR#{order.vendor_id}#ORDERS", "GSI2SK": moment}
    if order.rider_id is not None:
        keys |= {"GSI3PK": f"RIDER#{order.rider_id}#ORDERS", "GSI3SK": moment}
    stage = "CLOSED" if order.is_terminal else "OPEN"
    keys |= {"GSI4PK": f"ORDERS#{stage}#{shard_of(order.order_id)}", "GSI4SK": moment}
    return keys


def from_item(item: Item) -> Order:
    """An order out of its item; attributes of later versions of the server are ignored."""
    return msgspec.convert(item, Order, strict=False)


class OrderStore:
    """Reads orders."""

    def __init__(self, table: Table) -> None:
        self._table = table

    async def get(self, order_id: str) -> Order | None:
        """One order, consistently read.

        DynamoDB: GetItem, one round trip.
        """
        item = await self._table.get(order_key(order_id))
        return None if item is None else from_item(item)

    async def get_many(self, order_ids: Sequence[str]) -> list[Order]:
        """Those of these orders that there are, each consistently read.

        DynamoDB: BatchGetItem, one round trip for each hundred.
        """
        items = await self._table.get_many([order_key(each) for each in order_ids])
        return [from_item(item) for item in items if item is not None]

    async def list_for(
        self, audience: str, owner: str, status: str | None, page: PageRequest
    ) -> tuple[list[Order], str | None]:
        """The orders of one user, vendor or rider, newest first.

        Errors: Refused MALFORMED for a cursor that is not ours.
        """
        index = _INDEX[audience]
        partition = f"{audience.upper()}#{owner}#ORDERS"
        found = await self._query_page(partition, index, status, page)
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
            raise Refused(Refusal.MALFORMED, "this cursor is not from this list") from error

    async def list_all(
        self, status: str | None, page: PageRequest
    ) -> tuple[list[Order], str | None]:
        """Orders of the whole company for operators: shard by shard, newest first in each.

        `status` may be a status, or "OPEN" or "CLOSED"; without it the open ones come first.
        """
        stages = _stages(status)
        places = [f"ORDERS#{stage}#{shard}" for stage in stages for shard in range(SHARDS)]
        limit = page.limit
        at, inner = parse_shard_cursor(page.cursor, len(places))
        exact = status if status in set(OrderStatus) else None
        orders: list[Order] = []
        while at < len(places) and len(orders) < limit:
            part = await self._query_page(
                places[at], "GSI4", exact, PageRequest(limit - len(orders), inner)
            )
            orders.extend(from_item(item) for item in part.items)
            inner = part.cursor
            at += inner is None
        return orders, next_shard_cursor(at, inner, len(places))

    async def pending_before(self, placed_ms: int) -> list[Order]:
        """Orders that are PENDING and were placed before that time; the index may lag.

        DynamoDB: Query of GSI4 a shard, the oldest first; what is not PENDING stays there.
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
        """Every order that still moves, of one shard or of all; for what Redis has forgotten."""
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
    closed = {OrderStatus.FUNDS_DISTRIBUTED, OrderStatus.REJECTED, OrderStatus.CANCELLED}
    return ("CLOSED",) if status in closed else ("OPEN",)
