"""The HTTP endpoints on real stores: everything but sockets, loops and the composition root."""

from collections.abc import AsyncIterator

import pytest

from dispatch import settings
from dispatch.storage.redis_client import RedisClients
from ledger.dynamodb.client import DynamoTable
from tests.handlers.http_api import SECRET, ApiClient, build_desk, serve


@pytest.fixture
async def api(table: DynamoTable, redis: RedisClients) -> AsyncIterator[ApiClient]:
    """A developer's server: the sandbox pays, webhooks are signed with SECRET."""
    ours = settings.read({"WEBHOOK_SECRET": SECRET, "RATE_LIMITS": "off"}, dev=True)
    async for each in serve(build_desk(table, redis, ours)):
        yield each


@pytest.fixture
async def production_api(table: DynamoTable, redis: RedisClients) -> AsyncIterator[ApiClient]:
    """A production server without a webhook secret."""
    ours = settings.read({"JWT_SECRET": "s" * 32})
    async for each in serve(build_desk(table, redis, ours)):
        yield each
