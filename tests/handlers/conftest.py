"""Fixtures: the HTTP endpoints on real stores, under --dev and in production."""

from collections.abc import AsyncIterator

import pytest

from dispatch import settings
from dispatch.storage.redis_client import RedisClients
from ledger.dynamodb.client import DynamoTable
from tests.handlers.http_api import MOMO_SECRET, PAYOUT_SECRET, SECRET, ApiClient, run_api


@pytest.fixture
async def api(table: DynamoTable, redis: RedisClients) -> AsyncIterator[ApiClient]:
    """Endpoints under --dev: the sandbox pays, webhooks are signed with SECRET."""
    environ = {
        "WEBHOOK_SECRET": SECRET,
        "PAYOUT_WEBHOOK_SECRETS": f"sandbox:{PAYOUT_SECRET},momo:{MOMO_SECRET}",
        "RATE_LIMITS": "off",
        # Above the amounts of tests that are not about two people.
        "TWO_PERSON_ABOVE_XAF": "100000",
    }
    dev = settings.read(environ, dev=True)
    async with run_api(table, redis, dev) as client:
        yield client


@pytest.fixture
async def production_api(table: DynamoTable, redis: RedisClients) -> AsyncIterator[ApiClient]:
    """Endpoints in production, without a webhook secret."""
    async with run_api(table, redis, settings.read({"JWT_SECRET": "s" * 32})) as client:
        yield client
