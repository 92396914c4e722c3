"""Riders whose phones show no offers: how often in a row, and until when they are left alone."""

from collections.abc import Iterable
from typing import NamedTuple

from dispatch import keys
from dispatch.ids import RiderId
from dispatch.storage.pipeline import Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors
from dispatch.tracking.stores.index_scan import in_pairs

# Offers left unread longer ago than this are no row any more.
STREAK_TTL_S = 30 * 60
# Longer than any pause; an index of pauses that nobody writes to goes by itself.
INDEX_TTL_S = 24 * 3600


class PauseRule(NamedTuple):
    """How many unread offers in a row pause a rider, and for how long. Units: milliseconds."""

    unread_max: int
    pause_ms: int


class OfferPauses:
    """Counts unread offers and keeps the pauses that follow.

    Errors: every method raises StoreUnavailable where Redis is away.
    """

    def __init__(self, clients: RedisClients, scripts: Scripts) -> None:
        self._redis = clients.commands
        self._pipeline = Pipeline(clients.commands, scripts)

    async def count_unread(
        self,
        unread_rider_ids: Iterable[str],
        read_rider_ids: Iterable[str],
        now_ms: int,
        rule: PauseRule,
    ) -> list[str]:
        """Count offers that were not shown, forget the row of riders whose offers were.

        Returns the riders who are paused by it.
        Redis: INCR, EXPIRE and DEL in one pipeline, a second one where somebody is paused; a
        repeated call may count twice.
        """
        counted = list(unread_rider_ids)
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for rider in counted:
                    pipe.incr(keys.rider_unread(RiderId(rider)))
                for rider in counted:
                    pipe.expire(keys.rider_unread(RiderId(rider)), STREAK_TTL_S)
                for rider in read_rider_ids:
                    pipe.delete(keys.rider_unread(RiderId(rider)))
                rows = (await pipe.execute())[: len(counted)]
        full = [r for r, row in zip(counted, rows, strict=True) if row >= rule.unread_max]
        if full:
            await self._pause(full, now_ms, now_ms + rule.pause_ms)
        return full

    async def _pause(self, riders: list[str], now_ms: int, until_ms: int) -> None:
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zadd(keys.riders_paused(), dict.fromkeys(riders, until_ms))
                pipe.zremrangebyscore(keys.riders_paused(), "-inf", now_ms)
                pipe.expire(keys.riders_paused(), INDEX_TTL_S)
                for rider in riders:
                    pipe.delete(keys.rider_unread(RiderId(rider)))
                await pipe.execute()

    async def lift(self, rider: str) -> None:
        """The rider shows that he is there: no pause, and a row that begins anew.

        Redis: ZREM and DEL, one round trip; idempotent.
        """
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zrem(keys.riders_paused(), rider)
                pipe.delete(keys.rider_unread(RiderId(rider)))
                await pipe.execute()

    async def current(self, now_ms: int) -> dict[str, int]:
        """Paused riders, and until when. Units: Unix ms.

        Redis: ZRANGE by score, one round trip.
        """
        key = keys.riders_paused()
        [rows] = await self._pipeline.run(
            [("ZRANGE", key, f"({now_ms}", "+inf", "BYSCORE", "WITHSCORES")]
        )
        return {rider.decode(): int(float(until_ms)) for rider, until_ms in in_pairs(rows)}
