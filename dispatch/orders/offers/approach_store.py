"""How riders come nearer to their pickups, kept between two looks of the engine."""

import msgspec

from dispatch import keys
from dispatch.ids import OrderId
from dispatch.storage.redis_client import RedisClients, translate_redis_errors

# Longer than any way to a pickup; forgotten ones go by themselves.
TTL_S = 3600


class Approach(msgspec.Struct, frozen=True, kw_only=True):
    """One rider on his way to one pickup. Units: metres, Unix ms of the server.

    `best_m` is the nearest he has been and `nearer_at_ms` when he last came noticeably nearer;
    `seen_at_ms` is his last sign of life, `looked_at_ms` the engine's last look.
    """

    rider_id: str
    seen_at_ms: int
    nearer_at_ms: int
    looked_at_ms: int
    best_m: float | None = None


_decoder = msgspec.json.Decoder(Approach)


class ApproachStore:
    """Reads and writes pursuits.

    Errors: every method raises StoreUnavailable where Redis is away.
    """

    def __init__(self, clients: RedisClients) -> None:
        self._redis = clients.commands

    async def get(self, order_id: str) -> Approach | None:
        """What is known of an order's rider.

        Redis: GET.
        """
        with translate_redis_errors():
            raw = await self._redis.get(keys.order_approach(OrderId(order_id)))
        return None if raw is None else _decoder.decode(raw)

    async def put(self, order_id: str, approach: Approach) -> None:
        """Keep it for the next look.

        Redis: SET; idempotent.
        """
        with translate_redis_errors():
            text = msgspec.json.encode(approach)
            await self._redis.set(keys.order_approach(OrderId(order_id)), text, ex=TTL_S)
