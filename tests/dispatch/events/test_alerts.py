"""Alerts: each is raised once per interval, published, and the last ones are stored."""

import pytest

from dispatch import keys, metrics
from dispatch.events.alerts import ALERTS_MAX, Alerts, parse_alert
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.wire.events import Alert
from tests.metric_values import metric_value
from tests.waiting import Until

pytestmark = pytest.mark.redis_cluster

NOW_MS = 1_763_000_000_000
EVERY_MS = 60_000


@pytest.fixture
def alerts(redis: RedisClients, scripts: Scripts) -> Alerts:
    return Alerts(redis, scripts)


def alert(order_id: str | None = "ord_1", kind: str = "no_rider", ts: int = NOW_MS) -> Alert:
    return Alert(kind=kind, message="no rider found", order_id=order_id, ts=ts)


async def test_same_alert_is_raised_once_per_interval(alerts: Alerts):
    """A repeat within the interval is not raised; one after it is."""
    times = [NOW_MS, NOW_MS + EVERY_MS - 1, NOW_MS + EVERY_MS]
    assert [await alerts.raise_alert(alert(ts=ts), EVERY_MS) for ts in times] == [True, False, True]
    assert [each.ts for each in await alerts.recent()] == [times[0], times[2]]


async def test_other_subjects_and_kinds_are_raised(alerts: Alerts):
    """Another order, rider or kind does not wait for the interval, which is counted by kind."""
    before = metric_value(metrics.ALERTS.labels("no_rider"))
    rider = Alert(kind="no_rider", message="", rider_id="rdr_1", ts=NOW_MS)
    for each in (alert(), alert("ord_2"), alert(kind="late"), alert(None), rider):
        assert await alerts.raise_alert(each, EVERY_MS)
    assert metric_value(metrics.ALERTS.labels("no_rider")) - before == 4


async def test_last_alerts_are_stored_oldest_first(alerts: Alerts):
    """The last fifty alerts are kept, oldest first."""
    for number in range(ALERTS_MAX + 5):
        await alerts.raise_alert(alert(f"ord_{number}"), EVERY_MS)
    recent = await alerts.recent()
    assert [each.order_id for each in recent] == [f"ord_{n}" for n in range(5, ALERTS_MAX + 5)]


async def test_raised_alerts_are_published(alerts: Alerts, redis: RedisClients, until: Until):
    """A raised alert is published once; a repeat within the interval is not."""
    received: list[Alert] = []
    pubsub = PubSub(redis)
    async with until.running(pubsub.run):
        await pubsub.subscribe(keys.alerts_channel(), lambda raw: received.append(parse_alert(raw)))
        await alerts.raise_alert(alert(), EVERY_MS)
        await alerts.raise_alert(alert(), EVERY_MS)
        await alerts.raise_alert(alert("ord_2"), EVERY_MS)
        await until.true(lambda: len(received) == 2)
    assert received == [alert(), alert("ord_2")]
