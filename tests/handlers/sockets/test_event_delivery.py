"""The postman: each event once and in order, or a resync says otherwise."""

import json
from typing import Any, cast

import pytest

from dispatch import keys
from dispatch.accounts.connection_counts import Visits
from dispatch.clock import SKEW_MS, ManualClock
from dispatch.errors import StoreUnavailable
from dispatch.events.inbox import Head, Inboxes, Letter
from dispatch.orders.offers.display_receipts import OfferReceipts
from dispatch.storage.pubsub import Feeds
from dispatch.storage.redis_client import RedisClients, Scripts
from handlers.sessions.session_registry import Resume
from handlers.sockets.event_delivery import Postman
from tests.waiting import Until

OWNER = "user:usr_1"


class App:
    """A session whose outlet keeps what it is told."""

    def __init__(self, sid="sid_1"):
        self.sid, self.identity, self.namespace = sid, OWNER, "/user"
        self.state, self.connected_at_ms, self.outlet = {}, 0, self
        self.said = []
        self.ended = None

    def end(self, reason, *, may_return=True):
        self.ended = (reason, may_return)

    def tell(self, packet):
        name, body = json.loads(packet[packet.index(b"[") :])
        self.said.append((name, body.get("n", body["seq"])))

    @property
    def numbers(self):
        return [number for name, number in self.said if name == "news"]


class Here:
    """The sessions of this node."""

    def __init__(self):
        self.apps = []

    def of(self, owner):
        return [app for app in self.apps if app.identity == owner]


class Office:
    """A postman on a real Redis, and somebody who writes letters."""

    def __init__(self, redis, scripts):
        self.redis = redis.commands
        self.inboxes = Inboxes(redis, scripts)
        self.feeds = Feeds(redis)
        self.here = Here()
        clock = ManualClock()
        here = cast("Any", self.here)
        self.postman = Postman(here, self.inboxes, self.feeds, OfferReceipts(redis), clock)
        self.postman.visits = Visits(self.inboxes.together, scripts, "n1", 2)

    async def write(self, *numbers, at_ms=1):
        letters = [Letter(OWNER, f"e{n}", "news", f'{{"n":{n}}}') for n in numbers]
        await self.inboxes.append(letters, at_ms)

    async def come(self, resume=None, at_ms=0):
        app = App(f"sid_{len(self.here.apps)}")
        app.connected_at_ms = at_ms
        self.here.apps.append(app)
        await self.postman.greet(cast("Any", app), resume)
        return app


@pytest.fixture
async def office(redis: RedisClients, scripts: Scripts, until: Until):
    opened = Office(redis, scripts)
    async with until.running(opened.feeds.run):
        yield opened


async def test_events_arrive_in_order(office: Office, until: Until):
    """Each is told once, to every socket of its owner."""
    one, two = await office.come(), await office.come()
    await office.write(1, 2, 3)
    await until.true(lambda: one.numbers == two.numbers == [1, 2, 3])
    assert one.said == two.said == [("news", 1), ("news", 2), ("news", 3)]


async def test_clocks_that_differ_hide_nothing_from_a_new_app(office: Office, until: Until):
    """What was said after CONNECT is told, though its writer's clock is behind the server's.

    A node that is preempted between CONNECT and its own look at the clock is such a case.
    """
    await office.write(1, at_ms=8_999)
    await office.write(2, at_ms=9_001)
    app = await office.come(at_ms=10_000)
    await office.write(3, at_ms=9_002)
    await until.true(lambda: app.numbers == [2, 3])
    assert [name for name, _ in app.said] == ["news", "news"]


async def test_a_new_inbox_needs_no_resync(office: Office, until: Until):
    """After FLUSHALL the connected app hears on, under another epoch."""
    app = await office.come()
    await office.write(1, 2)
    await until.true(lambda: app.numbers == [1, 2])
    await office.redis.flushall()
    await office.write(3)
    await until.true(lambda: app.numbers == [1, 2, 3])

    assert [name for name, _ in app.said] == ["news"] * 3


async def test_resuming_in_an_inbox_that_is_gone_is_a_resync(office: Office, until: Until):
    """Whoever was away during a FLUSHALL learns that he missed something."""
    await office.write(1, 2)
    before = await office.inboxes.head(OWNER)
    await office.redis.flushall()
    app = await office.come(Resume(epoch=before.epoch, seq=1))

    assert [name for name, _ in app.said] == ["resync"]
    await office.write(3)
    await until.true(lambda: app.numbers == [3])


async def test_news_that_skip_something_wait_for_it(office: Office, until: Until):
    """An event that was not heard is fetched before the one that shows it missing is told."""
    app = await office.come()
    await office.write(1)
    await until.true(lambda: app.numbers == [1])
    # As if it had never been heard here.
    app.state["inbox"] = Head(app.state["inbox"].epoch, 0)
    app.said.clear()
    await office.write(2)
    await until.true(lambda: bool(office.postman._behind))
    assert app.numbers == []
    await office.postman.mend()

    assert app.numbers == [1, 2]


async def test_what_comes_while_redis_is_asked_is_told_after_it(
    office: Office, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Live news never overtake missed ones, and none is told twice."""
    app = await office.come()
    await office.write(1)
    await until.true(lambda: app.numbers == [1])
    office.postman._after_gap()
    await office.write(2)
    head = office.inboxes.head

    async def slow_head(owner):
        found = await head(owner)
        await office.write(3)
        return found

    monkeypatch.setattr(office.inboxes, "head", slow_head)
    await office.postman.mend()
    await until.true(lambda: app.numbers == [1, 2, 3])
    assert [name for name, _ in app.said] == ["news"] * 3


async def test_a_mend_that_fails_is_done_again(
    office: Office, until: Until, monkeypatch: pytest.MonkeyPatch
):
    """Redis goes away a second time; nothing is skipped."""
    app = await office.come()
    await office.write(1)
    await until.true(lambda: app.numbers == [1])
    office.postman._after_gap()
    await office.write(2)

    async def away(_owner):
        raise StoreUnavailable("redis", "away")

    with monkeypatch.context() as patch:
        patch.setattr(office.inboxes, "head", away)
        with pytest.raises(StoreUnavailable):
            await office.postman.mend()
    assert app.numbers == [1]
    await office.postman.mend()

    assert app.numbers == [1, 2]


async def test_a_gap_over_an_emptied_inbox_is_a_resync(office: Office, until: Until):
    """What was told in between is known to nobody; the app asks anew, and hears on."""
    app = await office.come()
    await office.write(1)
    await until.true(lambda: app.numbers == [1])
    await office.redis.flushall()
    office.postman._after_gap()
    await office.postman.mend()
    await office.write(2)
    await until.true(lambda: app.numbers == [1, 2])

    assert [name for name, _ in app.said] == ["news", "resync", "news"]


async def test_an_app_that_stayed_hears_all_of_a_new_inbox(office: Office, until: Until):
    """Redis came back empty, and events were relayed into it before the node could look."""
    app = await office.come()
    await office.write(1)
    await until.true(lambda: app.numbers == [1])
    await office.redis.flushall()
    office.postman._after_gap()
    await office.write(2, 3)
    await office.postman.mend()

    assert [name for name, _ in app.said] == ["news", "resync", "news", "news"]
    assert app.numbers == [1, 2, 3]


async def test_an_inbox_that_came_and_went_unseen_is_a_resync(office: Office, until: Until):
    """Before a gap there was none, and after it there is none: what was in it nobody knows."""
    app = await office.come()
    office.postman._after_gap()
    await office.write(1)
    await office.redis.flushall()
    await office.postman.mend()
    await office.write(2)
    await until.true(lambda: app.numbers == [2])

    assert [name for name, _ in app.said] == ["resync", "news"]


async def test_a_first_event_that_was_missed_is_told_after_a_resync(office: Office):
    """It may not have been the first; all that is still known is told."""
    app = await office.come()
    office.postman._after_gap()
    await office.write(1, 2)
    await office.postman.mend()

    assert [name for name, _ in app.said] == ["resync", "news", "news"]
    assert app.numbers == [1, 2]


async def test_who_comes_back_knowing_of_no_inbox_is_resynced(office: Office):
    """He was told that there is none; one may have come and gone while he was away."""
    app = await office.come(Resume(epoch="", seq=0))
    await office.write(1)

    assert app.said[0] == ("resync", 0)


async def held(office):
    return [each.decode() for each in await office.redis.zrange(keys.visits(OWNER), 0, -1)]


async def test_one_too_many_over_all_nodes_goes(office: Office, until: Until):
    """The oldest, with a word to stay away; the others hear nothing of it."""
    apps = [await office.come() for _ in range(3)]
    seconds, _ = await office.redis.time()
    office.postman.visits.judge({"n1": (seconds + 1) * 1000 + SKEW_MS})
    await until.true(lambda: apps[0].ended is not None)
    assert [app.ended for app in apps] == [("too_many_sockets", False), None, None]
    assert [app.said for app in apps] == [[], [], []]
    assert await held(office) == ["n1 sid_1", "n1 sid_2"]


async def test_who_has_gone_is_counted_no_more(office: Office, until: Until):
    """Whoever stays is; and all of them again on a Redis that was emptied."""
    one, two = await office.come(), await office.come()
    await office.redis.flushall()
    office.postman._after_gap()
    await office.postman.mend()

    async def are_back():
        return sorted(await held(office)) == ["n1 sid_0", "n1 sid_1"]

    await until.eventually(are_back)
    office.here.apps.remove(one)
    await office.postman.part(cast("Any", one))

    async def is_gone():
        return await held(office) == ["n1 sid_1"]

    await until.eventually(is_gone)
    assert two.ended is None
