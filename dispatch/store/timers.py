"""When each order must be looked at: while it is open by the engine, then for its trail."""

from collections.abc import Mapping, Sequence
from typing import Any

from dispatch import keys
from dispatch.store.connect import RedisClients, translate


class Timers:
    """The timers of one zone."""

    def __init__(self, clients: RedisClients, zone: str) -> None:
        self._redis = clients.commands
        self.zone = zone

    async def arm(
        self, due: Mapping[str, int], *, trails: Mapping[str, int] | None = None, wake: bool = True
    ) -> None:
        """Set when orders want to be looked at (order id -> Unix ms), and wake the engine.

        `trails` are those that have ended, and when their trails are whole.
        Redis: ZADDs and PUBLISH, one round trip; idempotent.
        """
        if not due and not trails:
            return
        with translate():
            async with self._redis.pipeline(transaction=False) as pipe:
                if trails:
                    pipe.zadd(keys.trails_due(self.zone), dict(trails))
                if due:
                    pipe.zadd(keys.timers(self.zone), dict(due))
                    if wake:
                        pipe.publish(keys.engine_channel(self.zone), "1")
                await pipe.execute()

    async def trails_due(self, now_ms: int, limit: int) -> list[str]:
        """Orders whose trails wait to be kept, oldest first.

        Redis: ZRANGE.
        """
        with translate():
            found: Any = await self._redis.zrange(
                keys.trails_due(self.zone), "-inf", now_ms, byscore=True, offset=0, num=limit
            )
        return [order.decode() for order in found]

    async def trail_kept(self, order_id: str) -> None:
        """Forget an order whose trail is kept, or has nothing to keep.

        Redis: ZREM; idempotent.
        """
        with translate():
            await self._redis.zrem(keys.trails_due(self.zone), order_id)

    async def arm_missing(self, due: Mapping[str, int]) -> int:
        """Set the timers of orders that have none (order id -> Unix ms); how many those were.

        Redis: ZADD NX, and PUBLISH where one was missing; two round trips at most; idempotent.
        """
        if not due:
            return 0
        with translate():
            added = await self._redis.zadd(keys.timers(self.zone), dict(due), nx=True)
            missing = int(added or 0)
            if missing:
                await self._redis.publish(keys.engine_channel(self.zone), "1")
        return missing

    async def disarm(self, orders: Sequence[str]) -> None:
        """Forget orders that need no engine any more.

        Redis: ZREM; idempotent.
        """
        if not orders:
            return
        with translate():
            await self._redis.zrem(keys.timers(self.zone), *orders)

    async def due(self, now_ms: int, limit: int) -> tuple[list[str], int | None]:
        """Orders whose time has come, oldest first, and when the next one's comes.

        Redis: ZRANGE twice, one round trip.
        """
        name = keys.timers(self.zone)
        with translate():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zrange(name, "-inf", now_ms, byscore=True, offset=0, num=limit)
                pipe.zrange(
                    name, f"({now_ms}", "+inf", byscore=True, offset=0, num=1, withscores=True
                )
                ready, later = await pipe.execute()
        return [order.decode() for order in ready], int(later[0][1]) if later else None
