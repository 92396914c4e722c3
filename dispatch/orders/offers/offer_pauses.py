"""Offer pauses: riders whose apps show no offers, counted in a row and not asked for a while."""

from collections.abc import Iterable
from typing import NamedTuple

from dispatch import keys
from dispatch.ids import RiderId
from dispatch.storage.pipeline import Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors
from dispatch.tracking.stores.index_scan import in_pairs

# Unread offers further apart than this do not count as in a row.
STREAK_TTL_S = 30 * 60
# Longer than any pause, so that Redis drops the index once nothing is written to it.
INDEX_TTL_S = 24 * 3600


class PauseRule(NamedTuple):
    """How many unread offers in a row pause a rider, and for how long. Units: milliseconds."""

    unread_max: int
    pause_ms: int


class OfferPauses:
    """Counts unread offers and keeps the pauses that follow from them.

    Errors: every method raises StoreUnavailable where Redis does not answer.
    """

    def __init__(self, clients: RedisClients, scripts: Scripts) -> None:
        self._redis = clients.commands
        self._pipeline = Pipeline(clients.commands, scripts)

    async def count_unread(
        self,
        unread_rider_ids: Iterable[RiderId],
        read_rider_ids: Iterable[RiderId],
        now_ms: int,
        rule: PauseRule,
    ) -> list[RiderId]:
        """Count unread offers, reset the count of riders whose offers were shown.

        Returns the riders who are paused by it. Units: Unix milliseconds.
        Redis: INCR, EXPIRE and DEL in one pipeline, a second one where a rider is paused; a
        repeated call may count twice.
        """
        counted = list(unread_rider_ids)
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for rider_id in counted:
                    pipe.incr(keys.rider_unread(rider_id))
                for rider_id in counted:
                    pipe.expire(keys.rider_unread(rider_id), STREAK_TTL_S)
                for rider_id in read_rider_ids:
                    pipe.delete(keys.rider_unread(rider_id))
                counts = (await pipe.execute())[: len(counted)]
        paused = [r for r, count in zip(counted, counts, strict=True) if count >= rule.unread_max]
        if paused:
            await self._pause(paused, now_ms, now_ms + rule.pause_ms)
        return paused

    async def _pause(self, rider_ids: list[RiderId], now_ms: int, until_ms: int) -> None:
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zadd(keys.riders_paused(), dict.fromkeys(rider_ids, until_ms))
                pipe.zremrangebyscore(keys.riders_paused(), "-inf", now_ms)
                pipe.expire(keys.riders_paused(), INDEX_TTL_S)
                for rider_id in rider_ids:
                    pipe.delete(keys.rider_unread(rider_id))
                await pipe.execute()

    async def lift(self, rider_id: RiderId) -> None:
        """End a rider's pause and reset its count; it has shown that it uses the app.

        Redis: ZREM and DEL, one round trip; idempotent.
        """
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.zrem(keys.riders_paused(), rider_id)
                pipe.delete(keys.rider_unread(rider_id))
                await pipe.execute()

    async def current(self, now_ms: int) -> dict[RiderId, int]:
        """Paused riders, and the ends of their pauses. Units: Unix milliseconds.

        Redis: ZRANGE by score, one round trip.
        """
        key = keys.riders_paused()
        [rows] = await self._pipeline.run(
            [("ZRANGE", key, f"({now_ms}", "+inf", "BYSCORE", "WITHSCORES")]
        )
        return {
            RiderId(rider_id.decode()): int(float(until_ms))
            for rider_id, until_ms in in_pairs(rows)
        }
