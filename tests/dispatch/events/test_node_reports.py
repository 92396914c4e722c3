"""Node reports: live nodes are those that reported in the last five seconds."""

import pytest

from dispatch import keys
from dispatch.events.node_reports import (
    NODE_EXPIRY_MS,
    NODE_TIMEOUT_MS,
    NodeReport,
    NodeReports,
    count_riders,
)
from dispatch.storage.redis_client import RedisClients

pytestmark = pytest.mark.redis_cluster

NOW_MS = 1_763_000_000_000


async def test_silent_nodes_are_not_live(redis: RedisClients):
    """A node is live for five seconds after its report, and its report is removed in an hour."""
    reports = NodeReports(redis)
    silent_ms, expired_ms = NOW_MS - NODE_TIMEOUT_MS - 1, NOW_MS - NODE_EXPIRY_MS - 1
    one_ms = NOW_MS - NODE_TIMEOUT_MS
    assert await reports.report("expired", NodeReport(expired_ms, 0, 1)) == {"expired": expired_ms}
    await reports.report("silent", NodeReport(silent_ms, 3, 1))
    assert await reports.report("one", NodeReport(one_ms, 0, 1)) == {
        "silent": silent_ms,
        "one": one_ms,
    }
    assert await reports.report("two", NodeReport(NOW_MS, 0, 2)) == {"one": one_ms, "two": NOW_MS}
    assert set(await redis.commands.hkeys(keys.node_reports())) == {b"silent", b"one", b"two"}


async def test_fixes_are_added_up(redis: RedisClients):
    """The fixes of every report are added to the counter of fixes."""
    reports = NodeReports(redis)
    await reports.report("one", NodeReport(NOW_MS, 3, 0))
    await reports.report("two", NodeReport(NOW_MS, 4, 0))
    await reports.report("two", NodeReport(NOW_MS, 0, 0))
    assert await redis.commands.hget(keys.totals(), "fixes") == b"7"


def test_riders_of_live_nodes_are_counted():
    """Riders of nodes that are no longer live do not count."""
    reports = [f"{NOW_MS - age_ms} 2".encode() for age_ms in (0, NODE_TIMEOUT_MS, 60_000)]
    assert count_riders(reports, NOW_MS) == 4
