"""Alert feed: the last alerts at first, each new one once."""

from typing import Any, cast

import orjson
import pytest

from dispatch.events.alerts import Alerts
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.wire.events import Alert
from handlers.sockets.alert_feed import AlertFeed
from tests.waiting import Until

pytestmark = pytest.mark.engines


class FakeSender:
    """An operator's socket that keeps the alerts it is sent."""

    def __init__(self):
        self.events = []

    def send_event(self, packet):
        namespace, _, array = packet.partition(b",")
        name, body = orjson.loads(array)
        assert (namespace, name) == (b"42/ops", "alert")
        self.events.append((body["kind"], body["orderId"]))


class AlertFeedHarness:
    """An alert feed on a real Redis, and a source of alerts."""

    def __init__(self, redis, scripts):
        self.pubsub = PubSub(redis)
        self.alerts = Alerts(redis, scripts)
        self.alert_feed = AlertFeed(self.alerts, self.pubsub)

    async def raise_alert(self, order_id, ts=1_000, every_ms=60_000):
        alert = Alert(kind="no_riders", message="?", order_id=order_id, ts=ts)
        return await self.alerts.raise_alert(alert, every_ms)

    async def subscribe(self, sid):
        sender = FakeSender()
        await self.alert_feed.subscribe(sid, cast("Any", sender))
        return sender


@pytest.fixture
async def harness(redis: RedisClients, scripts: Scripts, until: Until):
    opened = AlertFeedHarness(redis, scripts)
    async with until.running(opened.pubsub.run):
        yield opened


async def test_each_operator_gets_each_alert_once(harness: AlertFeedHarness, until: Until):
    """A socket that connects between two alerts gets both, as one that was there before."""
    early = await harness.subscribe("a")
    await harness.raise_alert("ord_1")
    await until.true(lambda: len(early.events) == 1)
    late = await harness.subscribe("b")
    await harness.raise_alert("ord_2")
    await until.true(lambda: len(early.events) == len(late.events) == 2)

    assert early.events == late.events == [("no_riders", "ord_1"), ("no_riders", "ord_2")]


async def test_repeats_of_an_alert_are_limited(harness: AlertFeedHarness):
    """An alert is raised once a minute for one order; another order's is another alert."""
    raised = [
        await harness.raise_alert("ord_1", ts=1_000),
        await harness.raise_alert("ord_1", ts=60_999),
        await harness.raise_alert("ord_2", ts=60_999),
        await harness.raise_alert("ord_1", ts=61_000),
    ]

    assert raised == [True, False, True, True]
    assert [each.order_id for each in await harness.alerts.recent()] == ["ord_1", "ord_2", "ord_1"]


async def test_an_unsubscribed_socket_gets_nothing(harness: AlertFeedHarness, until: Until):
    """A closed socket gets no packets; the last fifty alerts are kept for new sockets."""
    gone, stays = await harness.subscribe("a"), await harness.subscribe("b")
    harness.alert_feed.unsubscribe("a")
    for number in range(60):
        await harness.raise_alert(f"ord_{number}")
    await until.true(lambda: len(stays.events) == 60)

    assert gone.events == []
    assert len((await harness.subscribe("c")).events) == 50
