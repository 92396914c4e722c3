"""Receipts of offers: that a rider's app has shown what it was sent."""

import asyncio
from collections import deque
from collections.abc import Sequence

from dispatch import keys, metrics
from dispatch.errors import StoreUnavailable
from dispatch.storage.redis_client import RedisClients, translate_redis_errors

# An offer ends within seconds; its receipt is read once, two seconds after it was made.
TTL_S = 60
# Above this the oldest receipt is dropped and counted; its rider is then passed over once.
PENDING_MAX = 10_000


class DisplayReceipts:
    """Collects receipts at the edge and reads them in the engine."""

    def __init__(self, clients: RedisClients) -> None:
        self._redis = clients.commands
        self._pending: deque[tuple[str, int]] = deque()
        self._has_pending = asyncio.Event()

    def record(self, offer_id: str, now_ms: int) -> None:
        """Remember that an offer was shown; never waits."""
        if len(self._pending) >= PENDING_MAX:
            self._pending.popleft()
            metrics.DISPLAY_RECEIPTS_DROPPED.inc()
        self._pending.append((offer_id, now_ms))
        self._has_pending.set()

    async def run(self) -> None:
        """Write what was noted, for as long as the server runs.

        Redis: SET each, one pipeline; a failed batch stays and is written again.
        """
        while True:
            await self._has_pending.wait()
            self._has_pending.clear()
            batch = list(self._pending)
            try:
                await self._write(batch)
            except StoreUnavailable:
                # The receipts stay; the engine's own deadline bounds how long they matter.
                self._has_pending.set()
                await asyncio.sleep(0.2)
                continue
            written = min(len(batch), len(self._pending))
            for _ in range(written):
                self._pending.popleft()

    async def _write(self, batch: Sequence[tuple[str, int]]) -> None:
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for offer_id, now_ms in batch:
                    pipe.set(keys.offer_receipt(offer_id), now_ms, ex=TTL_S)
                await pipe.execute()

    async def missing(self, offer_ids: Sequence[str]) -> frozenset[str]:
        """Which of these offers have no receipt.

        Redis: GET each, one pipeline (the keys lie in different slots of a cluster).
        """
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for offer_id in offer_ids:
                    pipe.get(keys.offer_receipt(offer_id))
                found = await pipe.execute()
        return frozenset(
            offer for offer, seen in zip(offer_ids, found, strict=True) if seen is None
        )
