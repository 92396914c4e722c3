"""Every HTTP endpoint module gets its context."""

from types import ModuleType

import pytest
from aiohttp import web

from dispatch import settings
from dispatch.storage.redis_client import RedisClients
from handlers.app.application import HTTP_MODULES
from handlers.http.framework.idempotency import KEPT_ANSWERS
from ledger.dynamodb.client import DynamoTable
from tests.handlers.http_api import run_api


def context_keys(module: ModuleType) -> list[web.AppKey[object]]:
    """The application keys that a module defines."""
    return [
        value
        for value in vars(module).values()
        if isinstance(value, web.AppKey) and f"{module.__name__}." in repr(value)
    ]


@pytest.mark.engines
async def test_each_endpoint_module_finds_its_context(table: DynamoTable, redis: RedisClients):
    """The application holds the context of every module, of the type that its key names."""
    async with run_api(table, redis, settings.read({"JWT_SECRET": "s" * 32})) as api:
        app = api.client.app
        assert KEPT_ANSWERS in app
        for module in HTTP_MODULES:
            [key] = context_keys(module)
            assert type(app[key]).__module__ == module.__name__
