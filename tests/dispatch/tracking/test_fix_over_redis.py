"""A fix over a real Redis, from end to end: from a rider at one node to a watcher at another."""

import asyncio

import pytest

from dispatch.clock import ManualClock
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.tracking.watchers import Watchers
from tests.dispatch.tracking.node import DOUALA, FRESH_MS, RecordingWatcher, fix, north_m
from tests.dispatch.tracking.redis_node import RedisNode

pytestmark = pytest.mark.engines


class SignallingWatcher(RecordingWatcher):
    """A watcher that sets an event when it gets a packet."""

    def __init__(self) -> None:
        super().__init__()
        self.has_packets = asyncio.Event()

    def send_position(self, packet: bytes) -> None:
        super().send_position(packet)
        self.has_packets.set()


async def test_a_fix_reaches_a_watcher_at_another_node(redis: RedisClients):
    """One fix is sent at the other node, found by a search, and kept as last fix and in a trail."""
    pubsub = PubSub(redis)
    node = RedisNode(redis, pubsub, ManualClock())
    other_watchers, watcher = Watchers(pubsub, "b"), SignallingWatcher()
    listening = asyncio.create_task(pubsub.run())
    node.rider_registry.connect("rdr_1")
    node.rider_registry.set_available("rdr_1", available=True)
    node.rider_registry.assign("rdr_1", "ord_1")
    await other_watchers.join("ord_1", watcher)
    now_ms = node.clock.now_ms()
    try:
        assert node.fix_pipeline.process_fix("rdr_1", fix(12), now_ms) is None
        await node.writer.flush()
        async with asyncio.timeout(5):
            await watcher.has_packets.wait()
        node.rider_registry.release("rdr_1", "ord_1")
        await node.writer.flush()
        [found] = await node.rider_index.find_nearest_free(Circle(*DOUALA, 1), 5, now_ms, FRESH_MS)
        [in_trail] = await node.positions.read_trail("ord_1", "rdr_1")
    finally:
        listening.cancel()
    assert watcher.path == [("ord_1", 12, "live")]
    assert (found.rider_id, north_m(found.lat), found.active) == ("rdr_1", 12, 0)
    assert await node.positions.last_position("rdr_1") == in_trail
