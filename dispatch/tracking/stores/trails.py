"""Trail store: the simplified trails of ended orders in DynamoDB, one item beside each order."""

import msgspec

from dispatch.model import Trail
from dispatch.storage.dynamodb_errors import RetryableTable
from ledger.dynamodb.table import Item, Key, Put, Table


def _key(order_id: str) -> Key:
    return Key(f"ORDER#{order_id}", "TRAIL")


class Trails:
    """Reads and writes trails.

    Errors: every method raises StoreUnavailable.
    """

    def __init__(self, table: Table) -> None:
        self._table = RetryableTable(table)

    async def get(self, order_id: str) -> Trail | None:
        """The trail of an ended order, None before it is archived.

        DynamoDB: GetItem, one round trip, consistent.
        """
        item = await self._table.get(_key(order_id))
        return None if item is None else msgspec.convert(item, Trail, strict=False)

    async def put(self, order_id: str, trail: Trail) -> None:
        """Store an order's trail.

        DynamoDB: one Put in a transaction; idempotent.
        """
        key = _key(order_id)
        item: Item = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(trail)}
        await self._table.transact([Put(item=item)])
