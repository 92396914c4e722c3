"""Scenarios on real engines for the tests of the capabilities."""

import pytest

from dispatch.clock import ManualClock
from dispatch.storage.redis_client import RedisClients, Scripts
from ledger.dynamodb.client import DynamoTable
from tests.dispatch.dispatch_scenario import DispatchScenario
from tests.dispatch.order_scenario import OrderScenario


@pytest.fixture
def clock() -> ManualClock:
    """A clock that only moves when it is advanced."""
    return ManualClock()


@pytest.fixture
async def order_scenario(
    table: DynamoTable, redis: RedisClients, scripts: Scripts
) -> OrderScenario:
    """An open vendor with a customer who has money."""
    scenario = OrderScenario(table, redis, scripts)
    await scenario.open_vendor()
    return scenario


@pytest.fixture
def dispatch_scenario(
    order_scenario: OrderScenario, redis: RedisClients, scripts: Scripts
) -> DispatchScenario:
    """The same with a dispatch engine."""
    return DispatchScenario(order_scenario, redis, scripts)
