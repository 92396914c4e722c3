"""An emptied Redis is refilled from the orders and from the connected riders."""

import asyncio
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from dispatch.clock import ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.events.operations_board import BoardLine
from dispatch.leadership.reconciliation import (
    COMPARE_EVERY_S,
    OpenOrderRecovery,
    Reconciler,
    RiderStateRecovery,
)
from dispatch.leadership.redis_instance import RedisInstance
from dispatch.model import Position
from dispatch.orders.rider_loader import RiderLoader
from dispatch.orders.store import SHARDS, order_shard
from dispatch.riders.store import set_availability
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.wire.commands import CancelOrder, Fix
from dispatch.wire.events import OrderMarker
from tests import virtual_time
from tests.dispatch.order_scenario import OrderScenario
from tests.dispatch.tracking.redis_node import RedisNode

LATER_MS = 10**14


class CountingRecoverable:
    """A part that records its calls."""

    def __init__(self):
        self.calls = []

    async def restore(self, *, is_lost):
        self.calls.append(is_lost)


@pytest.fixture
def counting_recoverable():
    return CountingRecoverable()


@pytest.fixture
def reconciler_and_clock(redis: RedisClients, counting_recoverable: CountingRecoverable):
    clock = ManualClock()
    return Reconciler(RedisInstance(redis), [counting_recoverable], clock), clock


async def test_an_unchanged_redis_is_not_compared(
    reconciler_and_clock: tuple[Reconciler, ManualClock], counting_recoverable: CountingRecoverable
):
    """A second after the start only the instance id is read."""
    reconciler, clock = reconciler_and_clock
    assert await reconciler.check()
    clock.advance(1_000)

    assert not await reconciler.check()
    assert counting_recoverable.calls == [True]


async def test_parts_are_compared_every_ten_seconds(
    reconciler_and_clock: tuple[Reconciler, ManualClock], counting_recoverable: CountingRecoverable
):
    """Without a known loss the parts are called again after `COMPARE_EVERY_S`."""
    reconciler, clock = reconciler_and_clock
    await reconciler.check()
    clock.advance(int(COMPARE_EVERY_S * 1000))

    assert await reconciler.check()
    assert counting_recoverable.calls == [True, False]


async def test_an_emptied_redis_is_detected(
    reconciler_and_clock: tuple[Reconciler, ManualClock],
    counting_recoverable: CountingRecoverable,
    redis: RedisClients,
):
    """After FLUSHALL the instance id is another one, and everything is restored."""
    reconciler, _ = reconciler_and_clock
    await reconciler.check()
    await redis.commands.flushall()

    assert await reconciler.check()
    assert counting_recoverable.calls == [True, True]


async def test_a_gap_is_a_loss(
    reconciler_and_clock: tuple[Reconciler, ManualClock], counting_recoverable: CountingRecoverable
):
    """Missed messages count as lost data although Redis has kept its keys."""
    reconciler, _ = reconciler_and_clock
    await reconciler.check()
    reconciler.wake()

    assert await reconciler.check()
    assert counting_recoverable.calls == [True, True]


@pytest.fixture
def open_order_recovery(order_scenario: OrderScenario):
    return OpenOrderRecovery(
        order_scenario.orders, order_scenario.timers, order_scenario.board, lambda: True
    )


async def test_timers_and_board_come_back(
    order_scenario: OrderScenario, open_order_recovery: OpenOrderRecovery, redis: RedisClients
):
    """After FLUSHALL every searching order has its timer and every open order its board line."""
    searching, waiting = await order_scenario.place_order(), await order_scenario.place_order()
    await order_scenario.accept_order(searching)
    await order_scenario.relay_outbox()
    before = sorted(await order_scenario.board.read(), key=lambda marker: marker.order_id)
    await redis.commands.flushall()
    await open_order_recovery.restore(is_lost=True)

    due, _ = await order_scenario.timers.claim(LATER_MS, 10, 1)
    assert due == [searching]
    after = sorted(await order_scenario.board.read(), key=lambda marker: marker.order_id)
    assert after == before
    assert {marker.order_id for marker in after} == {searching, waiting}


async def test_only_the_leader_reads_the_orders(order_scenario: OrderScenario, redis: RedisClients):
    """Another node restores no board lines."""
    await order_scenario.place_order()
    await order_scenario.relay_outbox()
    await redis.commands.flushall()
    await OpenOrderRecovery(
        order_scenario.orders, order_scenario.timers, order_scenario.board, lambda: False
    ).restore(is_lost=True)

    assert await order_scenario.board.read() == []


async def test_an_existing_timer_is_not_changed(
    order_scenario: OrderScenario, open_order_recovery: OpenOrderRecovery
):
    """Its time may be newer than the one in the order."""
    order_id = await order_scenario.place_order()
    await order_scenario.accept_order(order_id)
    await order_scenario.relay_outbox()
    await order_scenario.timers.claim(LATER_MS, 10, 1)
    await order_scenario.timers.reschedule(order_id, LATER_MS, 1)
    await open_order_recovery.restore(is_lost=True)

    assert await order_scenario.timers.claim(LATER_MS - 1, 10, 1) == ([], LATER_MS)


async def test_board_lines_of_ended_orders_are_removed(
    order_scenario: OrderScenario, open_order_recovery: OpenOrderRecovery
):
    """A line that was written late, or belongs to no order, is removed."""
    order_id = await order_scenario.place_order()
    await order_scenario.relay_outbox()
    line = BoardLine((await order_scenario.board.read())[0], ended=False)
    cancel = order_scenario.caller("user", "usr_1")
    await order_scenario.order_service.cancel_order(
        cancel, CancelOrder(order_id=order_id, reason="changed my mind")
    )
    await order_scenario.relay_outbox()
    unknown = BoardLine(OrderMarker(order_id="ord_unknown"), ended=False)
    await order_scenario.board.post([line, unknown], {})
    await open_order_recovery.restore(is_lost=True)

    assert await order_scenario.board.read() == []


async def test_all_shards_are_compared_in_turn(
    order_scenario: OrderScenario, open_order_recovery: OpenOrderRecovery
):
    """Without a known loss each call compares one shard, and `SHARDS` calls compare all."""
    placed = {await order_scenario.place_order() for _ in range(5)}
    seen = set()
    for _ in range(SHARDS):
        await open_order_recovery.restore(is_lost=False)
        shown = {marker.order_id for marker in await order_scenario.board.read()}
        assert len({order_shard(order_id) for order_id in shown - seen}) <= 1
        seen = shown

    assert seen == placed


class NullChannels:
    """Channels without other nodes."""

    async def subscribe(self, channel, callback):
        """Nothing is published."""

    async def unsubscribe(self, channel, callback):
        """Nothing was published."""


class NodeWithRider(RedisNode):
    """A node with one rider on duty that has reported once."""

    def __init__(self, orders, redis):
        super().__init__(redis, NullChannels(), orders.clock, "node_1")
        self.orders = orders
        self.recovery = RiderStateRecovery(
            self.rider_registry,
            self.writer,
            RiderLoader(orders.riders, orders.orders, self.rider_registry, 1),
        )

    async def connect_rider(self):
        await self.orders.table.transact([set_availability("rdr_1", available=True)])
        self.rider_registry.connect("rdr_1")
        self.rider_registry.set_available("rdr_1", available=True)
        self.fix_pipeline.process_fix(
            "rdr_1", Fix(lat=4.05, lng=9.7, accuracy=5.0), self.orders.clock.now_ms()
        )
        await self.writer.flush()

    async def find_riders(self):
        here = Circle(lat=4.05, lng=9.7, radius_km=1.0)
        near = await self.rider_index.find_nearest_free(here, 5, self.orders.clock.now_ms(), 15_000)
        return [rider.rider_id for rider in near]


@pytest.fixture
async def node(order_scenario: OrderScenario, redis: RedisClients):
    scripts = Scripts(redis.commands)
    await scripts.load()
    node = NodeWithRider(order_scenario, redis)
    await node.connect_rider()
    return node


async def test_riders_return_to_the_index_without_a_fix(node: NodeWithRider, redis: RedisClients):
    """After FLUSHALL the index is refilled from the node's last positions."""
    await redis.commands.flushall()
    assert await node.find_riders() == []
    await node.recovery.restore(is_lost=True)
    await node.writer.flush()

    assert await node.find_riders() == ["rdr_1"]
    assert isinstance(await node.positions.last_position("rdr_1"), Position)


async def test_a_missed_workload_is_read_again(node: NodeWithRider):
    """Orders that were assigned and released while messages were missed are read from the table."""
    orders = node.orders
    order_id = await orders.place_order()
    await orders.accept_order(order_id)
    offers = await orders.make_offers(order_id, "rdr_1")
    await orders.accept_delivery(order_id, "rdr_1", offers["rdr_1"])
    node.rider_registry.assign("rdr_1", "ord_long_gone")
    await node.recovery.restore(is_lost=False)
    assert node.rider_registry.get("rdr_1").orders == ("ord_long_gone",)

    await node.recovery.restore(is_lost=True)
    assert node.rider_registry.get("rdr_1").orders == (order_id,)


def test_stores_that_stay_away_are_logged_now_and_then():
    """A minute without Redis leaves a line every ten seconds, not one for each attempt."""

    class NoInstance(RedisInstance):
        def __init__(self) -> None:
            """Without a Redis."""

        async def read_id(self) -> str:
            raise StoreUnavailable("redis", "away")

    async def run_for_a_minute() -> None:
        reconciler = Reconciler(NoInstance(), [], virtual_time.clock())
        with suppress(TimeoutError):
            async with asyncio.timeout(60):
                await reconciler.run()

    with capture_logs() as logs:
        virtual_time.run(run_for_a_minute())
    assert [entry["event"] for entry in logs] == ["reconciliation_deferred"] * 6
