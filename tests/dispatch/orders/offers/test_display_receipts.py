"""Display receipts: recorded at an edge, written in the background, read by the engine."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import REGISTRY

from dispatch import keys
from dispatch.ids import OfferId
from dispatch.orders.offers.display_receipts import TTL_S, DisplayReceipts
from dispatch.storage.redis_client import RedisClients

OFFERS = [OfferId(f"ofr_{number}") for number in range(4)]


@pytest.mark.engines
async def test_offers_without_a_receipt_are_missing(redis: RedisClients):
    """A receipt written by one node is read by another, and expires."""
    edge, engine = DisplayReceipts(redis), DisplayReceipts(redis)
    edge.record(OFFERS[0], 1_000)
    await edge.flush()

    assert await engine.missing(OFFERS[:2]) == {OFFERS[1]}
    assert await engine.missing([]) == frozenset()
    assert 0 < await redis.commands.ttl(keys.offer_receipt(OFFERS[0])) <= TTL_S


class PausedRedis:
    """Redis clients whose pipeline calls back while it writes, and remembers what was written."""

    def __init__(self) -> None:
        self.written: list[str] = []
        self.while_writing = lambda: None

    def clients(self) -> RedisClients:
        """Clients that write here."""
        return cast("RedisClients", SimpleNamespace(commands=self))

    @asynccontextmanager
    async def pipeline(self, **_options: Any) -> AsyncIterator[Any]:
        """A pipeline of SET commands."""
        batch: list[str] = []

        async def execute() -> None:
            self.while_writing()
            self.written += batch

        yield SimpleNamespace(set=lambda key, *_, **__: batch.append(key), execute=execute)


async def test_receipts_recorded_during_a_write_are_written_next():
    """Each is written once."""
    redis = PausedRedis()
    receipts = DisplayReceipts(redis.clients())
    receipts.record(OFFERS[0], 1_000)
    redis.while_writing = lambda: receipts.record(OFFERS[1], 1_001)
    await receipts.flush()
    redis.while_writing = lambda: None
    await receipts.flush()
    await receipts.flush()

    assert redis.written == [keys.offer_receipt(offer_id) for offer_id in OFFERS[:2]]


async def test_a_full_queue_during_a_write_loses_only_what_it_counts():
    """Receipts recorded during the write pushed out written ones, and were then lost uncounted."""
    redis, dropped = PausedRedis(), dropped_receipts()
    receipts = DisplayReceipts(redis.clients(), pending_max=2)
    for offer_id in OFFERS[:2]:
        receipts.record(offer_id, 1_000)
    redis.while_writing = lambda: [receipts.record(offer_id, 1_001) for offer_id in OFFERS[2:]]
    await receipts.flush()
    redis.while_writing = lambda: None
    await receipts.flush()

    assert redis.written == [keys.offer_receipt(offer_id) for offer_id in OFFERS]
    assert dropped_receipts() == dropped + 2


def dropped_receipts() -> float:
    value = REGISTRY.get_sample_value("reeyo_display_receipts_dropped_total")
    assert value is not None
    return value
