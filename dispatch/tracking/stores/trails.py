"""The ways of orders that have ended, beside each order in DynamoDB."""

import msgspec

from dispatch.model import Trail
from dispatch.storage.dynamodb_errors import RetryableTable
from ledger.dynamodb.table import Item, Key, Put, Table


def _key(order_id: str) -> Key:
    return Key(f"ORDER#{order_id}", "TRAIL")


class Trails:
    """Reads and writes trails.

    Errors: every method raises StoreUnavailable where DynamoDB is away.
    """

    def __init__(self, table: Table) -> None:
        self._table = RetryableTable(table)

    async def get(self, order_id: str) -> Trail | None:
        """What is kept of an order's way, None before that.

        DynamoDB: GetItem, one round trip, consistent.
        """
        item = await self._table.get(_key(order_id))
        return None if item is None else msgspec.convert(item, Trail, strict=False)

    async def put(self, order_id: str, trail: Trail) -> None:
        """Keep an order's way.

        DynamoDB: one PutItem; repeating it changes nothing.
        """
        key = _key(order_id)
        item: Item = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(trail)}
        await self._table.transact([Put(item=item)])
