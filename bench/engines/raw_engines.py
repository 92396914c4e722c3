"""Lower bound for an offer: the round trips to the raw engines that it needs, one by one."""

import secrets
import time

from dispatch.ids import new_id
from dispatch.keys import riders_facts, riders_geo
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.stores import geo_cells
from dispatch.tracking.stores.geo_cells import Circle
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Item, Key, Put, Update

# Candidates that the first wave ranks.
CANDIDATES = 50
# Rough sizes of an order, and of its outbox entry or its decision.
ORDER_BYTES, ENTRY_BYTES = 1_500, 600


class RawOfferPath:
    """The same round trips as an offer, with plain items, on the engines that the server uses."""

    def __init__(self, redis: RedisClients, table: DynamoTable, circle: Circle) -> None:
        self._redis = redis
        self._scripts = Scripts(redis.commands)
        self._table = table
        self._cells = geo_cells.cells_in_circle(circle) or []
        self._circle = circle

    async def measure_s(self, orders: int) -> list[float]:
        """Duration of each of so many offers, one after the other. Units: seconds."""
        return [await self._measure_one() for _ in range(orders)]

    async def _measure_one(self) -> float:
        key = Key(new_id("raw"), "ORDER")
        await self._table.transact([Put(item=_item(key, ORDER_BYTES))])
        began_s = time.perf_counter()
        await self._write_transition(key, 1)
        # Wake up the engine.
        await self._redis.commands.spublish("raw", b"1")
        await self._table.get(key)
        await self._search()
        await self._write_transition(key, 2)
        # Send the offer to the rider's node.
        await self._redis.commands.spublish("raw", secrets.token_bytes(ENTRY_BYTES))
        return time.perf_counter() - began_s

    async def _write_transition(self, key: Key, version: int) -> None:
        """Update the order and put an entry, in one transaction.

        DynamoDB: TransactWriteItems, one round trip.
        """
        entry = Key(f"{key.pk}#OUT", f"ENTRY#{version}")
        moved = Update(
            key=key,
            expression="SET #v = :v",
            condition="attribute_exists(PK)",
            names={"#v": "version"},
            values={":v": version},
        )
        await self._table.transact([moved, Put(item=_item(entry, ENTRY_BYTES))])

    async def _search(self) -> None:
        lat, lng, radius_km = self._circle
        for cell in self._cells:
            names = (riders_geo(cell), riders_facts(cell))
            await self._scripts.run(
                "index_nearest_free", names, (lng, lat, radius_km, CANDIDATES, 0)
            )


def _item(key: Key, size: int) -> Item:
    return {"PK": key.pk, "SK": key.sk, "body": "x" * size}
