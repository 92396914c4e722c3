"""The postman: each event once and in order, or a resync says otherwise."""

import json
from typing import Any, cast

import pytest

from dispatch import keys
from dispatch.accounts.connection_counts import ConnectionCounts
from dispatch.clock import SKEW_MS, ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Inboxes, InboxHead, InboxMessage
from dispatch.orders.offers.display_receipts import DisplayReceipts
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from handlers.sessions.session_registry import ResumePoint
from handlers.sockets.event_delivery import EventDelivery
from tests.waiting import Until

OWNER = "user:usr_1"


class FakeSession:
    """A session whose outlet keeps what it is told."""

    def __init__(self, sid="sid_1"):
        self.sid, self.identity, self.namespace = sid, OWNER, "/user"
        self.state, self.connected_at_ms, self.sender = {}, 0, self
        self.events = []
        self.ended = None

    def end(self, reason, *, may_return=True):
        self.ended = (reason, may_return)

    def send_event(self, packet):
        name, body = json.loads(packet[packet.index(b"[") :])
        self.events.append((name, body.get("n", body["seq"])))

    @property
    def numbers(self):
        return [number for name, number in self.events if name == "news"]


class FakeSessionRegistry:
    """The sessions of this node."""

    def __init__(self):
        self.sessions = []

    def for_identity(self, owner):
        return [app for app in self.sessions if app.identity == owner]


class DeliveryHarness:
    """A postman on a real Redis, and somebody who writes letters."""

    def __init__(self, redis, scripts):
        self.redis = redis.commands
        self.inboxes = Inboxes(redis, scripts)
        self.pubsub = PubSub(redis)
        self.sessions = FakeSessionRegistry()
        clock = ManualClock()
        here = cast("Any", self.sessions)
        self.delivery = EventDelivery(
            here, self.inboxes, self.pubsub, DisplayReceipts(redis), clock
        )
        self.delivery.connection_counts = ConnectionCounts(self.inboxes.batcher, scripts, "n1", 2)

    async def append(self, *numbers, at_ms=1):
        letters = [InboxMessage(OWNER, f"e{n}", "news", f'{{"n":{n}}}') for n in numbers]
        await self.inboxes.append(letters, at_ms)

    async def connect(self, resume=None, at_ms=0):
        app = FakeSession(f"sid_{len(self.sessions.sessions)}")
        app.connected_at_ms = at_ms
        self.sessions.sessions.append(app)
        await self.delivery.attach(cast("Any", app), resume)
        return app


@pytest.fixture
async def harness(redis: RedisClients, scripts: Scripts, until: Until):
    opened = DeliveryHarness(redis, scripts)
    async with until.running(opened.pubsub.run):
        yield opened


async def test_events_arrive_in_order(harness: DeliveryHarness, until: Until):
    """Each is told once, to every socket of its owner."""
    one, two = await harness.connect(), await harness.connect()
    await harness.append(1, 2, 3)
    await until.true(lambda: one.numbers == two.numbers == [1, 2, 3])
    assert one.events == two.events == [("news", 1), ("news", 2), ("news", 3)]


async def test_clocks_that_differ_hide_nothing_from_a_new_app(
    harness: DeliveryHarness, until: Until
):
    """What was said after CONNECT is told, though its writer's clock is behind the server's.

    A node that is preempted between CONNECT and its own look at the clock is such a case.
    """
    await harness.append(1, at_ms=8_999)
    await harness.append(2, at_ms=9_001)
    app = await harness.connect(at_ms=10_000)
    await harness.append(3, at_ms=9_002)
    await until.true(lambda: app.numbers == [2, 3])
    assert [name for name, _ in app.events] == ["news", "news"]


async def test_a_new_inbox_needs_no_resync(harness: DeliveryHarness, until: Until):
    """After FLUSHALL the connected app hears on, under another epoch."""
    app = await harness.connect()
    await harness.append(1, 2)
    await until.true(lambda: app.numbers == [1, 2])
    await harness.redis.flushall()
    await harness.append(3)
    await until.true(lambda: app.numbers == [1, 2, 3])

    assert [name for name, _ in app.events] == ["news"] * 3


async def test_resuming_in_an_inbox_that_is_gone_is_a_resync(
    harness: DeliveryHarness, until: Until
):
    """Whoever was away during a FLUSHALL learns that he missed something."""
    await harness.append(1, 2)
    before = await harness.inboxes.head(OWNER)
    await harness.redis.flushall()
    app = await harness.connect(ResumePoint(epoch=before.epoch, seq=1))

    assert [name for name, _ in app.events] == ["resync"]
    await harness.append(3)
    await until.true(lambda: app.numbers == [3])


async def test_news_that_skip_something_wait_for_it(harness: DeliveryHarness, until: Until):
    """An event that was not heard is fetched before the one that shows it missing is told."""
    app = await harness.connect()
    await harness.append(1)
    await until.true(lambda: app.numbers == [1])
    # As if it had never been heard here.
    app.state["inbox"] = InboxHead(app.state["inbox"].epoch, 0)
    app.events.clear()
    await harness.append(2)
    await until.true(lambda: bool(harness.delivery._lagging))
    assert app.numbers == []
    await harness.delivery.catch_up()

    assert app.numbers == [1, 2]


async def test_what_comes_while_redis_is_asked_is_told_after_it(
    harness: DeliveryHarness, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Live news never overtake missed ones, and none is told twice."""
    app = await harness.connect()
    await harness.append(1)
    await until.true(lambda: app.numbers == [1])
    harness.delivery._on_gap()
    await harness.append(2)
    head = harness.inboxes.head

    async def slow_head(owner):
        found = await head(owner)
        await harness.append(3)
        return found

    monkeypatch.setattr(harness.inboxes, "head", slow_head)
    await harness.delivery.catch_up()
    await until.true(lambda: app.numbers == [1, 2, 3])
    assert [name for name, _ in app.events] == ["news"] * 3


async def test_a_mend_that_fails_is_done_again(
    harness: DeliveryHarness, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Redis goes away a second time; nothing is skipped."""
    app = await harness.connect()
    await harness.append(1)
    await until.true(lambda: app.numbers == [1])
    harness.delivery._on_gap()
    await harness.append(2)

    async def away(_owner):
        raise StoreUnavailable("redis", "away")

    with monkeypatch.context() as patch:
        patch.setattr(harness.inboxes, "head", away)
        with pytest.raises(StoreUnavailable):
            await harness.delivery.catch_up()
    assert app.numbers == [1]
    await harness.delivery.catch_up()

    assert app.numbers == [1, 2]


async def test_a_gap_over_an_emptied_inbox_is_a_resync(harness: DeliveryHarness, until: Until):
    """What was told in between is known to nobody; the app asks anew, and hears on."""
    app = await harness.connect()
    await harness.append(1)
    await until.true(lambda: app.numbers == [1])
    await harness.redis.flushall()
    harness.delivery._on_gap()
    await harness.delivery.catch_up()
    await harness.append(2)
    await until.true(lambda: app.numbers == [1, 2])

    assert [name for name, _ in app.events] == ["news", "resync", "news"]


async def test_an_app_that_stayed_hears_all_of_a_new_inbox(harness: DeliveryHarness, until: Until):
    """Redis came back empty, and events were relayed into it before the node could look."""
    app = await harness.connect()
    await harness.append(1)
    await until.true(lambda: app.numbers == [1])
    await harness.redis.flushall()
    harness.delivery._on_gap()
    await harness.append(2, 3)
    await harness.delivery.catch_up()

    assert [name for name, _ in app.events] == ["news", "resync", "news", "news"]
    assert app.numbers == [1, 2, 3]


async def test_an_inbox_that_came_and_went_unseen_is_a_resync(
    harness: DeliveryHarness, until: Until
):
    """Before a gap there was none, and after it there is none: what was in it nobody knows."""
    app = await harness.connect()
    harness.delivery._on_gap()
    await harness.append(1)
    await harness.redis.flushall()
    await harness.delivery.catch_up()
    await harness.append(2)
    await until.true(lambda: app.numbers == [2])

    assert [name for name, _ in app.events] == ["resync", "news"]


async def test_a_first_event_that_was_missed_is_told_after_a_resync(harness: DeliveryHarness):
    """It may not have been the first; all that is still known is told."""
    app = await harness.connect()
    harness.delivery._on_gap()
    await harness.append(1, 2)
    await harness.delivery.catch_up()

    assert [name for name, _ in app.events] == ["resync", "news", "news"]
    assert app.numbers == [1, 2]


async def test_who_comes_back_knowing_of_no_inbox_is_resynced(harness: DeliveryHarness):
    """He was told that there is none; one may have come and gone while he was away."""
    app = await harness.connect(ResumePoint(epoch="", seq=0))
    await harness.append(1)

    assert app.events[0] == ("resync", 0)


async def counted_connections(office):
    return [each.decode() for each in await office.redis.zrange(keys.connections(OWNER), 0, -1)]


async def test_one_too_many_over_all_nodes_goes(harness: DeliveryHarness, until: Until):
    """The oldest, with a word to stay away; the others hear nothing of it."""
    apps = [await harness.connect() for _ in range(3)]
    seconds, _ = await harness.redis.time()
    harness.delivery.connection_counts.evict_excess({"n1": (seconds + 1) * 1000 + SKEW_MS})
    await until.true(lambda: apps[0].ended is not None)
    assert [app.ended for app in apps] == [("too_many_sockets", False), None, None]
    assert [app.events for app in apps] == [[], [], []]
    assert await counted_connections(harness) == ["n1 sid_1", "n1 sid_2"]


async def test_who_has_gone_is_counted_no_more(harness: DeliveryHarness, until: Until):
    """Whoever stays is; and all of them again on a Redis that was emptied."""
    one, two = await harness.connect(), await harness.connect()
    await harness.redis.flushall()
    harness.delivery._on_gap()
    await harness.delivery.catch_up()

    async def are_back():
        return sorted(await counted_connections(harness)) == ["n1 sid_0", "n1 sid_1"]

    await until.eventually(are_back)
    harness.sessions.sessions.remove(one)
    await harness.delivery.detach(cast("Any", one))

    async def is_gone():
        return await counted_connections(harness) == ["n1 sid_1"]

    await until.eventually(is_gone)
    assert two.ended is None
