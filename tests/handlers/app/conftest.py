"""Infrastructure of a server process on the real engines."""

from collections.abc import Callable

import pytest

from dispatch import settings
from dispatch.clock import SystemClock
from dispatch.storage.redis_client import RedisClients, Scripts
from handlers.app.infrastructure import Infrastructure
from ledger.dynamodb.client import DynamoTable

OpenInfrastructure = Callable[..., Infrastructure]


@pytest.fixture
def infrastructure(table: DynamoTable, redis: RedisClients) -> OpenInfrastructure:
    """Build an infrastructure with environment settings, for a --dev server unless they say so."""

    def build(**environ: str) -> Infrastructure:
        ours = settings.read({"PORT": "0", **environ}, dev=True)
        return Infrastructure(ours, SystemClock(), table, redis, Scripts(redis.commands), "node-a")

    return build
