"""The HTTP endpoints on real stores: everything but sockets, loops and the composition root."""

from collections.abc import AsyncIterator

import pytest

from dispatch import settings
from dispatch.store.connect import RedisClients
from ledger.dynamo import DynamoTable, open_table
from ledger.schema import ensure_table
from tests.handlers.http.asking import SECRET, Api, build_desk, serve


@pytest.fixture
async def table(dynamodb_endpoint: str, table_name: str) -> AsyncIterator[DynamoTable]:
    """An empty table."""
    async with open_table(dynamodb_endpoint, "eu-west-1", table_name) as opened:
        await ensure_table(opened)
        yield opened


@pytest.fixture
async def api(table: DynamoTable, redis: RedisClients) -> AsyncIterator[Api]:
    """A developer's server: the sandbox pays, webhooks are signed with SECRET."""
    ours = settings.read({"WEBHOOK_SECRET": SECRET, "RATE_LIMITS": "off"}, dev=True)
    async for each in serve(build_desk(table, redis, ours)):
        yield each


@pytest.fixture
async def strict_api(table: DynamoTable, redis: RedisClients) -> AsyncIterator[Api]:
    """A production server without a webhook secret."""
    ours = settings.read({"JWT_SECRET": "s" * 32})
    async for each in serve(build_desk(table, redis, ours)):
        yield each
