"""An emptied Redis is filled again from the orders and from the riders who are here."""

import pytest

from dispatch.clock import ManualClock
from dispatch.events.operations_board import Line
from dispatch.leadership.reconciliation import COMPARE_EVERY_S, OpenOrders, Reconciler, Seats
from dispatch.leadership.redis_instance import Birth
from dispatch.model import Position
from dispatch.orders.store import SHARDS, shard_of
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.tracking.eta import Forecast
from dispatch.tracking.fix_pipeline import Lane
from dispatch.tracking.redis_writer import Drain
from dispatch.tracking.rider_state import Roster
from dispatch.tracking.stores.geo_cells import Circle
from dispatch.tracking.stores.positions import Positions
from dispatch.tracking.tracking_policy import Guide
from dispatch.tracking.watchers import Watchers
from dispatch.wire.commands import CancelOrder, Fix
from dispatch.wire.events import OrderDot
from matching.speeds import Speeds
from tests.dispatch.conftest import Shop

LATER_MS = 10**14


class Counted:
    """A part that counts what it is asked."""

    def __init__(self):
        self.asked = []

    async def restore(self, *, is_lost):
        self.asked.append(is_lost)


@pytest.fixture
def counted():
    return Counted()


@pytest.fixture
def reconciler(redis: RedisClients, counted: Counted):
    clock = ManualClock()
    return Reconciler(Birth(redis), [counted], clock), clock


async def test_nothing_is_compared_while_redis_is_the_same(
    reconciler: tuple[Reconciler, ManualClock], counted: Counted
):
    """After the start it costs one round trip a second."""
    looks, clock = reconciler
    assert await looks.look()
    clock.advance(1_000)

    assert not await looks.look()
    assert counted.asked == [True]


async def test_all_is_compared_now_and_then(
    reconciler: tuple[Reconciler, ManualClock], counted: Counted
):
    """What was lost by itself is found too, within ten seconds."""
    looks, clock = reconciler
    await looks.look()
    clock.advance(int(COMPARE_EVERY_S * 1000))

    assert await looks.look()
    assert counted.asked == [True, False]


async def test_an_emptied_redis_is_noticed(
    reconciler: tuple[Reconciler, ManualClock], counted: Counted, redis: RedisClients
):
    """Its mark is gone, and the next look sets another."""
    looks, _ = reconciler
    await looks.look()
    await redis.commands.flushall()

    assert await looks.look()
    assert counted.asked == [True, True]


async def test_a_gap_is_a_loss(reconciler: tuple[Reconciler, ManualClock], counted: Counted):
    """What was said while nobody listened is gone even where Redis kept its keys."""
    looks, _ = reconciler
    await looks.look()
    looks.wake()

    assert await looks.look()
    assert counted.asked == [True, True]


@pytest.fixture
def open_orders(shop: Shop):
    return OpenOrders(shop.orders, shop.timers, shop.board, lambda: True)


async def test_timers_and_board_come_back(shop: Shop, open_orders: OpenOrders, redis: RedisClients):
    """After FLUSHALL every search has its timer and every open order its line."""
    searching, waiting = await shop.place(), await shop.place()
    await shop.accept(searching)
    await shop.relay()
    before = sorted(await shop.board.read(), key=lambda dot: dot.order_id)
    await redis.commands.flushall()
    await open_orders.restore(is_lost=True)

    due, _ = await shop.timers.claim(LATER_MS, 10, 1)
    assert due == [searching]
    after = sorted(await shop.board.read(), key=lambda dot: dot.order_id)
    assert after == before
    assert {dot.order_id for dot in after} == {searching, waiting}


async def test_only_the_live_engine_reads_the_orders(shop: Shop, redis: RedisClients):
    """The others leave it to him; their own riders are theirs."""
    await shop.place()
    await shop.relay()
    await redis.commands.flushall()
    await OpenOrders(shop.orders, shop.timers, shop.board, lambda: False).restore(is_lost=True)

    assert await shop.board.read() == []


async def test_a_timer_that_is_there_is_left_alone(shop: Shop, open_orders: OpenOrders):
    """Its moment may be newer than the one in the order."""
    order_id = await shop.place()
    await shop.accept(order_id)
    await shop.relay()
    await shop.timers.claim(LATER_MS, 10, 1)
    await shop.timers.put(order_id, LATER_MS, 1)
    await open_orders.restore(is_lost=True)

    assert await shop.timers.claim(LATER_MS - 1, 10, 1) == ([], LATER_MS)


async def test_lines_of_orders_that_are_over_go(shop: Shop, open_orders: OpenOrders):
    """A line that was written late, or belongs to no order, does not stay for ever."""
    order_id = await shop.place()
    await shop.relay()
    line = Line((await shop.board.read())[0], ended=False)
    cancel = shop.as_("user", "usr_1")
    await shop.flow.cancel_order(cancel, CancelOrder(order_id=order_id, reason="changed my mind"))
    await shop.relay()
    unknown = Line(OrderDot(order_id="ord_unknown"), ended=False)
    await shop.board.post([line, unknown], {})
    await open_orders.restore(is_lost=True)

    assert await shop.board.read() == []


async def test_all_orders_have_their_turn(shop: Shop, open_orders: OpenOrders):
    """Where nothing is known to be lost each look compares one shard, and all come round."""
    placed = {await shop.place() for _ in range(5)}
    seen = set()
    for _ in range(SHARDS):
        await open_orders.restore(is_lost=False)
        dots = {dot.order_id for dot in await shop.board.read()}
        assert len({shard_of(order_id) for order_id in dots - seen}) <= 1
        seen = dots

    assert seen == placed


class Silence:
    """Nobody else's positions."""

    async def open(self, channel, callback):
        """Nothing is said."""

    async def close(self, channel, callback):
        """Nothing was."""


class Node:
    """One rider at this node, on duty, who has reported once."""

    def __init__(self, shop, redis):
        self.shop = shop
        scripts = Scripts(redis.commands)
        self.positions = Positions(redis.commands, scripts, "node_1", 45_000)
        self.drain = Drain(self.positions, shop.clock, 50, 1_000)
        watchers = Watchers(Silence(), "node_1")
        self.roster = Roster(self.drain, watchers, 15_000, 45_000)
        self.lane = Lane(self.roster, watchers, self.drain, Guide(watchers, Forecast(Speeds())))
        self.seats = Seats(self.roster, self.drain, shop.riders, shop.orders)

    async def sit_down(self):
        await self.shop.riders.save_available("rdr_1", available=True)
        self.roster.seat("rdr_1")
        self.roster.set_available("rdr_1", available=True)
        self.lane.report("rdr_1", Fix(lat=4.05, lng=9.7, accuracy=5.0), self.shop.clock.now_ms())
        await self.drain.flush()

    async def found(self):
        here = Circle(lat=4.05, lng=9.7, radius_km=1.0)
        near = await self.positions.near(here, 5, self.shop.clock.now_ms(), 15_000)
        return [seen.rider_id for seen in near]


@pytest.fixture
async def node(shop: Shop, redis: RedisClients):
    scripts = Scripts(redis.commands)
    await scripts.load()
    opened = Node(shop, redis)
    await opened.sit_down()
    return opened


async def test_riders_return_to_the_index_without_a_fix(node: Node, redis: RedisClients):
    """The node knows where they are; Redis need not wait for their next report."""
    await redis.commands.flushall()
    assert await node.found() == []
    await node.seats.restore(is_lost=True)
    await node.drain.flush()

    assert await node.found() == ["rdr_1"]
    assert isinstance(await node.positions.last("rdr_1"), Position)


async def test_duty_that_was_missed_is_read_again(node: Node):
    """Orders that came into his hands and left them while nobody listened."""
    shop = node.shop
    order_id = await shop.place()
    await shop.accept(order_id)
    offers = await shop.offer(order_id, "rdr_1")
    await shop.take(order_id, "rdr_1", offers["rdr_1"])
    node.roster.assign("rdr_1", "ord_long_gone")
    await node.seats.restore(is_lost=False)
    assert node.roster.get("rdr_1").orders == ("ord_long_gone",)

    await node.seats.restore(is_lost=True)
    assert node.roster.get("rdr_1").orders == (order_id,)
