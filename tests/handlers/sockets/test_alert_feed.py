"""Alerts on operators' sockets: the last ones at first, each new one once."""

from typing import cast

import orjson
import pytest

from dispatch.events.alerts import Alerts
from dispatch.storage.pubsub import Feeds
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.wire.events import Alert
from handlers.sockets.alert_feed import Alarm
from handlers.transport.send_buffer import Outlet
from tests.waiting import Until

pytestmark = pytest.mark.engines


class Screen:
    """An operator's socket that keeps what it is told."""

    def __init__(self):
        self.told = []

    def tell(self, packet):
        namespace, _, array = packet.partition(b",")
        name, body = orjson.loads(array)
        assert (namespace, name) == (b"42/ops", "alert")
        self.told.append((body["kind"], body["orderId"]))


class Room:
    """An alarm on a real Redis, and somebody who raises alerts."""

    def __init__(self, redis, scripts):
        self.feeds = Feeds(redis)
        self.alerts = Alerts(redis, scripts)
        self.alarm = Alarm(self.alerts, self.feeds)

    async def raise_(self, order_id, ts=1_000, every_ms=60_000):
        alert = Alert(kind="no_riders", message="?", order_id=order_id, ts=ts)
        return await self.alerts.raise_(alert, every_ms)

    async def come(self, sid):
        screen = Screen()
        await self.alarm.watch(sid, cast("Outlet", screen))
        return screen


@pytest.fixture
async def room(redis: RedisClients, scripts: Scripts, until: Until):
    opened = Room(redis, scripts)
    async with until.running(opened.feeds.run):
        yield opened


async def test_every_operator_is_told_at_once_and_latecomers_what_was_before(
    room: Room, until: Until
):
    """One who was there hears both; one who comes between hears both as well, each once."""
    early = await room.come("a")
    await room.raise_("ord_1")
    await until.true(lambda: len(early.told) == 1)
    late = await room.come("b")
    await room.raise_("ord_2")
    await until.true(lambda: len(early.told) == len(late.told) == 2)

    assert early.told == late.told == [("no_riders", "ord_1"), ("no_riders", "ord_2")]


async def test_the_same_alert_is_repeated_sparsely(room: Room):
    """Within its pause an alert is raised once, whoever raises it; another order's is another."""
    raised = [
        await room.raise_("ord_1", ts=1_000),
        await room.raise_("ord_1", ts=60_999),
        await room.raise_("ord_2", ts=60_999),
        await room.raise_("ord_1", ts=61_000),
    ]

    assert raised == [True, False, True, True]
    assert [each.order_id for each in await room.alerts.recent()] == ["ord_1", "ord_2", "ord_1"]


async def test_whoever_has_gone_is_told_nothing(room: Room, until: Until):
    """A closed socket gets no packets; the last fifty alerts are kept for the next."""
    gone, stays = await room.come("a"), await room.come("b")
    room.alarm.unwatch("a")
    for number in range(60):
        await room.raise_(f"ord_{number}")
    await until.true(lambda: len(stays.told) == 60)

    assert gone.told == []
    assert len((await room.come("c")).told) == 50
