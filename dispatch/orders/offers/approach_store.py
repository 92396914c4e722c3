"""Approaches of riders to their next stop in Redis, kept between two checks of the engine."""

import msgspec

from dispatch import keys
from dispatch.ids import OrderId, RiderId
from dispatch.storage.redis_client import RedisClients, translate_redis_errors
from dispatch.wire.events import Stop

# Longer than any ride to a stop; Redis drops what is no longer written.
TTL_S = 3600


class Approach(msgspec.Struct, frozen=True, kw_only=True):
    """One rider's approach to one stop of an order. Units: metres, Unix milliseconds of the server.

    `nearest_m` is the smallest distance so far, `progressed_at_ms` when it last shrank noticeably,
    `seen_at_ms` when the server last received anything from the rider, `checked_at_ms` the engine's
    last check.
    """

    rider_id: RiderId
    seen_at_ms: int
    progressed_at_ms: int
    checked_at_ms: int
    nearest_m: float | None = None
    stop: Stop = "pickup"


_decoder = msgspec.json.Decoder(Approach)


class ApproachStore:
    """Reads and writes approaches.

    Errors: every method raises StoreUnavailable where Redis does not answer.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._redis = clients.commands

    async def get(self, order_id: OrderId) -> Approach | None:
        """The approach of an order's rider at the last check.

        Redis: GET.
        """
        with translate_redis_errors():
            raw = await self._redis.get(keys.order_approach(order_id))
        return None if raw is None else _decoder.decode(raw)

    async def put(self, order_id: OrderId, approach: Approach) -> None:
        """Keep the approach for the next check.

        Redis: SET; idempotent.
        """
        with translate_redis_errors():
            text = msgspec.json.encode(approach)
            await self._redis.set(keys.order_approach(order_id), text, ex=TTL_S)
