"""Daily budget of codes: shared by all nodes, with an alert before its end and at it."""

import asyncio

import pytest

from dispatch.accounts.code_budget import DAY_MS, CodeBudget
from dispatch.clock import ManualClock
from dispatch.events.alerts import Alerts
from dispatch.storage.pipeline import Pipeline
from dispatch.storage.redis_client import RedisClients, Scripts

pytestmark = pytest.mark.redis_cluster


@pytest.fixture
def alerts(redis: RedisClients, scripts: Scripts) -> Alerts:
    return Alerts(redis, scripts)


def budget(redis: RedisClients, scripts: Scripts, alerts: Alerts, clock: ManualClock) -> CodeBudget:
    return CodeBudget(Pipeline(redis.commands, scripts), alerts, clock, 10)


async def test_nodes_share_the_budget(
    redis: RedisClients, scripts: Scripts, alerts: Alerts, clock: ManualClock
):
    """Of twenty codes that two nodes send at once ten are granted, until the day ends."""
    clock.advance(DAY_MS - clock.now_ms() % DAY_MS + 1_000)
    nodes = [budget(redis, scripts, alerts, clock) for _ in range(2)]
    taken = await asyncio.gather(*(node.take() for node in nodes for _ in range(10)))
    assert [each.is_granted for each in taken].count(True) == 10
    assert {each.wait_ms for each in taken if not each.is_granted} == {DAY_MS - 1_000}
    clock.advance(DAY_MS - 1_000)
    assert (await nodes[0].take()).is_granted


async def test_operators_are_told(
    redis: RedisClients, scripts: Scripts, alerts: Alerts, clock: ManualClock
):
    """Once at four fifths of the budget and once at its end."""
    node, kinds = budget(redis, scripts, alerts, clock), []
    for _ in range(13):
        await node.take()
        kinds.append([alert.kind for alert in await alerts.recent()])
    assert kinds[6] == []
    assert kinds[7] == kinds[9] == ["code_budget_low"]
    assert kinds[10] == kinds[12] == ["code_budget_low", "code_budget_spent"]
