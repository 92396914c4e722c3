"""Event delivery: each event once and in order, or a resync."""

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
from handlers.sockets.event_delivery import INBOX_CURSOR, EventDelivery
from tests.waiting import Until

OWNER = "user:usr_1"


class FakeSession:
    """A session that keeps the events it is sent."""

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
        return [number for name, number in self.events if name == "notice"]


class FakeSessionRegistry:
    """The sessions of this node."""

    def __init__(self):
        self.sessions = []

    def for_identity(self, owner):
        return [session for session in self.sessions if session.identity == owner]


class DeliveryHarness:
    """Event delivery on a real Redis, with sessions of this node and a writer of events."""

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
        messages = [InboxMessage(OWNER, f"e{n}", "notice", f'{{"n":{n}}}') for n in numbers]
        await self.inboxes.append(messages, at_ms)

    async def connect(self, resume=None, at_ms=0):
        session = FakeSession(f"sid_{len(self.sessions.sessions)}")
        session.connected_at_ms = at_ms
        self.sessions.sessions.append(session)
        await self.delivery.attach(cast("Any", session), resume)
        return session


@pytest.fixture
async def harness(redis: RedisClients, scripts: Scripts, until: Until):
    opened = DeliveryHarness(redis, scripts)
    async with until.running(opened.pubsub.run):
        yield opened


async def test_events_arrive_in_order(harness: DeliveryHarness, until: Until):
    """Each is sent once, to every socket of its identity."""
    one, two = await harness.connect(), await harness.connect()
    await harness.append(1, 2, 3)
    await until.true(lambda: one.numbers == two.numbers == [1, 2, 3])
    assert one.events == two.events == [("notice", 1), ("notice", 2), ("notice", 3)]


async def test_clock_skew_hides_nothing_from_a_new_session(harness: DeliveryHarness, until: Until):
    """An event after CONNECT is sent, though its writer's clock is behind the server's.

    A node that is preempted between CONNECT and its look at the clock is such a case.
    """
    await harness.append(1, at_ms=8_999)
    await harness.append(2, at_ms=9_001)
    session = await harness.connect(at_ms=10_000)
    await harness.append(3, at_ms=9_002)
    await until.true(lambda: session.numbers == [2, 3])
    assert [name for name, _ in session.events] == ["notice", "notice"]


async def test_a_new_inbox_needs_no_resync(harness: DeliveryHarness, until: Until):
    """After FLUSHALL a connected session gets the next events, under another epoch."""
    session = await harness.connect()
    await harness.append(1, 2)
    await until.true(lambda: session.numbers == [1, 2])
    await harness.redis.flushall()
    await harness.append(3)
    await until.true(lambda: session.numbers == [1, 2, 3])

    assert [name for name, _ in session.events] == ["notice"] * 3


async def test_resuming_in_an_inbox_that_is_gone_is_a_resync(
    harness: DeliveryHarness, until: Until
):
    """A client that was away during a FLUSHALL learns that it missed events."""
    await harness.append(1, 2)
    before = await harness.inboxes.head(OWNER)
    await harness.redis.flushall()
    session = await harness.connect(ResumePoint(epoch=before.epoch, seq=1))

    assert [name for name, _ in session.events] == ["resync"]
    await harness.append(3)
    await until.true(lambda: session.numbers == [3])


async def test_news_that_skip_something_wait_for_it(harness: DeliveryHarness, until: Until):
    """An event that was not received is fetched before the one that shows that it is missing."""
    session = await harness.connect()
    await harness.append(1)
    await until.true(lambda: session.numbers == [1])
    # As if this node had never received it.
    session.state[INBOX_CURSOR] = InboxHead(session.state[INBOX_CURSOR].epoch, 0)
    session.events.clear()
    await harness.append(2)
    await until.true(lambda: harness.delivery.has_lagging_sessions)
    assert session.numbers == []
    await harness.delivery.catch_up()

    assert session.numbers == [1, 2]


async def test_live_events_wait_while_the_inbox_is_read(
    harness: DeliveryHarness, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Live events never overtake missed ones, and none is sent twice."""
    session = await harness.connect()
    await harness.append(1)
    await until.true(lambda: session.numbers == [1])
    harness.delivery.mark_all_lagging()
    await harness.append(2)
    head = harness.inboxes.head

    async def slow_head(owner):
        found = await head(owner)
        await harness.append(3)
        return found

    monkeypatch.setattr(harness.inboxes, "head", slow_head)
    await harness.delivery.catch_up()
    await until.true(lambda: session.numbers == [1, 2, 3])
    assert [name for name, _ in session.events] == ["notice"] * 3


async def test_a_catch_up_that_fails_is_repeated(
    harness: DeliveryHarness, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Redis goes away a second time; no event is skipped."""
    session = await harness.connect()
    await harness.append(1)
    await until.true(lambda: session.numbers == [1])
    harness.delivery.mark_all_lagging()
    await harness.append(2)

    async def away(_owner):
        raise StoreUnavailable("redis", "away")

    with monkeypatch.context() as patch:
        patch.setattr(harness.inboxes, "head", away)
        with pytest.raises(StoreUnavailable):
            await harness.delivery.catch_up()
    assert session.numbers == [1]
    await harness.delivery.catch_up()

    assert session.numbers == [1, 2]


async def test_a_gap_over_an_emptied_inbox_is_a_resync(harness: DeliveryHarness, until: Until):
    """The events in between are unknown; the client fetches snapshots, and gets the next events."""
    session = await harness.connect()
    await harness.append(1)
    await until.true(lambda: session.numbers == [1])
    await harness.redis.flushall()
    harness.delivery.mark_all_lagging()
    await harness.delivery.catch_up()
    await harness.append(2)
    await until.true(lambda: session.numbers == [1, 2])

    assert [name for name, _ in session.events] == ["notice", "resync", "notice"]


async def test_a_session_that_stayed_gets_all_of_a_new_inbox(
    harness: DeliveryHarness, until: Until
):
    """Redis came back empty, and events were relayed into it before this node read it."""
    session = await harness.connect()
    await harness.append(1)
    await until.true(lambda: session.numbers == [1])
    await harness.redis.flushall()
    harness.delivery.mark_all_lagging()
    await harness.append(2, 3)
    await harness.delivery.catch_up()

    assert [name for name, _ in session.events] == ["notice", "resync", "notice", "notice"]
    assert session.numbers == [1, 2, 3]


async def test_an_inbox_that_came_and_went_unseen_is_a_resync(
    harness: DeliveryHarness, until: Until
):
    """Before a gap there was none, and after it there is none: its events are unknown."""
    session = await harness.connect()
    harness.delivery.mark_all_lagging()
    await harness.append(1)
    await harness.redis.flushall()
    await harness.delivery.catch_up()
    await harness.append(2)
    await until.true(lambda: session.numbers == [2])

    assert [name for name, _ in session.events] == ["resync", "notice"]


async def test_a_missed_first_event_is_sent_after_a_resync(harness: DeliveryHarness):
    """It may not have been the first; all events that are still known are sent."""
    session = await harness.connect()
    harness.delivery.mark_all_lagging()
    await harness.append(1, 2)
    await harness.delivery.catch_up()

    assert [name for name, _ in session.events] == ["resync", "notice", "notice"]
    assert session.numbers == [1, 2]


async def test_a_client_that_knew_of_no_inbox_is_resynced(harness: DeliveryHarness):
    """One may have come and gone while the client was away."""
    session = await harness.connect(ResumePoint(epoch="", seq=0))
    await harness.append(1)

    assert session.events[0] == ("resync", 0)


async def counted_connections(harness):
    return [each.decode() for each in await harness.redis.zrange(keys.connections(OWNER), 0, -1)]


async def test_the_oldest_of_too_many_sockets_is_ended(harness: DeliveryHarness, until: Until):
    """It gets a DISCONNECT, after which it stays away; the others get nothing."""
    sessions = [await harness.connect() for _ in range(3)]
    seconds, _ = await harness.redis.time()
    harness.delivery.connection_counts.evict_excess({"n1": (seconds + 1) * 1000 + SKEW_MS})
    await until.true(lambda: sessions[0].ended is not None)
    assert [session.ended for session in sessions] == [("too_many_sockets", False), None, None]
    assert [session.events for session in sessions] == [[], [], []]
    assert await counted_connections(harness) == ["n1 sid_1", "n1 sid_2"]


async def test_only_connected_sockets_are_counted(harness: DeliveryHarness, until: Until):
    """An emptied Redis gets the counts again, and a detached session is removed."""
    one, two = await harness.connect(), await harness.connect()
    await harness.redis.flushall()
    harness.delivery.mark_all_lagging()
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


@pytest.mark.parametrize("is_resumed", [False, True])
@pytest.mark.parametrize(
    ("name", "is_end"),
    [
        ("order_delivered", True),
        ("order_cancelled", True),
        ("order_rejected", True),
        ("order_picked_up", False),
    ],
)
async def test_the_end_of_an_order_is_reported_with_its_session(
    harness: DeliveryHarness, until: Until, name: str, is_end: bool, is_resumed: bool
):
    """Once for each socket that is sent it, live or after a resume, at any node."""
    ended: list[tuple[str, str]] = []
    harness.delivery.on_order_end(lambda session, order_id: ended.append((session.sid, order_id)))
    message = InboxMessage(OWNER, "end", name, '{"orderId":"ord_1"}')
    await harness.append(1)
    first = await harness.inboxes.head(OWNER)
    session = None if is_resumed else await harness.connect()
    await harness.inboxes.append([message], 1)
    session = session or await harness.connect(ResumePoint(epoch=first.epoch, seq=first.seq))
    await until.true(lambda: name in [each for each, _ in session.events])
    assert ended == ([(session.sid, "ord_1")] if is_end else [])
