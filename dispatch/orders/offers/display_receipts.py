"""Display receipts: that a rider's app has shown an offer; written by edges, read by the engine."""

import asyncio
from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple

from dispatch import keys, metrics
from dispatch.errors import StoreUnavailable
from dispatch.ids import OfferId
from dispatch.storage.redis_client import RedisClients, translate_redis_errors

# A receipt is read once, two seconds after its offer was made, and offers end within seconds.
TTL_S = 60
# Receipts that wait for Redis; above it the oldest is dropped and counted. Its offer is then ended
# as unread.
PENDING_MAX = 10_000
# Pause after a failed write. Shorter than STORE_RETRY_S: a receipt matters for two seconds only.
RETRY_S = 0.2


class _Receipt(NamedTuple):
    offer_id: str
    shown_at_ms: int


class DisplayReceipts:
    """Records receipts and writes them in the background; finds offers without one."""

    def __init__(self, clients: RedisClients, pending_max: int = PENDING_MAX) -> None:
        self._redis = clients.commands
        self._pending_max = pending_max
        self._pending: deque[_Receipt] = deque()
        self._has_pending = asyncio.Event()

    def record(self, offer_id: str, now_ms: int) -> None:
        """Record that an offer was shown; never waits. Units: Unix milliseconds."""
        if len(self._pending) >= self._pending_max:
            self._pending.popleft()
            metrics.DISPLAY_RECEIPTS_DROPPED.inc()
        self._pending.append(_Receipt(offer_id, now_ms))
        self._has_pending.set()

    async def run(self) -> None:
        """Write recorded receipts, for as long as the server runs."""
        while True:
            await self._has_pending.wait()
            try:
                await self.flush()
            except StoreUnavailable:
                # The receipts are still pending; after the offers' deadlines they no longer matter.
                self._has_pending.set()
                await asyncio.sleep(RETRY_S)

    async def flush(self) -> None:
        """Write the receipts recorded so far.

        Errors: StoreUnavailable; the receipts stay pending.
        Redis: SET each, one pipeline; idempotent.
        """
        self._has_pending.clear()
        batch = list(self._pending)
        await self._write(batch)
        for receipt in batch:
            # Some may have been dropped meanwhile; the receipts after them are not written yet.
            if self._pending and self._pending[0] is receipt:
                self._pending.popleft()

    async def _write(self, batch: Sequence[_Receipt]) -> None:
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for offer_id, shown_at_ms in batch:
                    pipe.set(keys.offer_receipt(offer_id), shown_at_ms, ex=TTL_S)
                await pipe.execute()

    async def missing(self, offer_ids: Collection[OfferId]) -> frozenset[OfferId]:
        """The offers that have no receipt.

        Errors: StoreUnavailable.
        Redis: GET each, one pipeline (the keys lie in different slots of a cluster).
        """
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for offer_id in offer_ids:
                    pipe.get(keys.offer_receipt(offer_id))
                receipts = await pipe.execute()
        return frozenset(
            offer_id
            for offer_id, receipt in zip(offer_ids, receipts, strict=True)
            if receipt is None
        )
