"""The engine monitor reports a zone without a live engine, and that it is back."""

import pytest
from structlog.testing import capture_logs

from dispatch import metrics
from dispatch.clock import ManualClock
from dispatch.leadership.engine_monitor import MISSING_MAX_S, REPEAT_EVERY_S, EngineMonitor
from dispatch.storage.leases import Leases
from dispatch.storage.redis_client import RedisClients, Scripts
from dispatch.wire.events import Alert
from tests.metric_values import metric_value

pytestmark = pytest.mark.redis_cluster


class RaisedAlerts:
    """Records the alerts that are raised."""

    def __init__(self) -> None:
        self.alerts: list[Alert] = []

    async def raise_alert(self, alert: Alert, every_ms: int) -> bool:
        self.alerts.append(alert)
        return True


def after_s(clock: ManualClock, seconds: float) -> None:
    clock.advance(round(seconds * 1000))


async def test_a_zone_without_an_engine_is_reported(redis: RedisClients):
    """After ten seconds there is an alert, a log line and a metric, and then one a minute."""
    clock, raised = ManualClock(), RaisedAlerts()
    monitor = EngineMonitor(redis, "douala", raised.raise_alert, clock)
    assert await monitor.check()
    assert raised.alerts == []
    with capture_logs() as logs:
        after_s(clock, MISSING_MAX_S + 1)
        assert not await monitor.check()
        after_s(clock, REPEAT_EVERY_S / 2)
        assert not await monitor.check()
        assert len(raised.alerts) == 1
        after_s(clock, REPEAT_EVERY_S / 2)
        assert not await monitor.check()
    assert [alert.kind for alert in raised.alerts] == ["no_engine"] * 2
    assert [entry["event"] for entry in logs] == ["no_engine"] * 2
    assert metric_value(metrics.ENGINE_MISSING) == 1


async def test_an_engine_that_comes_back_is_seen(redis: RedisClients, scripts: Scripts):
    """With the lease held the metric falls to 0, and nothing more is reported."""
    clock, raised = ManualClock(), RaisedAlerts()
    monitor = EngineMonitor(redis, "douala", raised.raise_alert, clock)
    after_s(clock, MISSING_MAX_S + 1)
    await monitor.check()
    lease = await Leases(scripts, "node_1").acquire("douala")
    assert lease is not None
    with capture_logs() as logs:
        after_s(clock, REPEAT_EVERY_S)
        assert await monitor.check()
    assert [entry["event"] for entry in logs] == ["engine_is_back"]
    assert len(raised.alerts) == 1
    assert metric_value(metrics.ENGINE_MISSING) == 0


async def test_a_takeover_is_not_reported(redis: RedisClients):
    """An engine that is away for less than ten seconds is being replaced."""
    clock, raised = ManualClock(), RaisedAlerts()
    monitor = EngineMonitor(redis, "douala", raised.raise_alert, clock)
    after_s(clock, MISSING_MAX_S - 1)
    assert await monitor.check()
    assert raised.alerts == []
