"""Infrastructure: embedded engines under --dev, and stores that are closed again."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dispatch import settings
from dispatch.settings import SettingsError
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.redis_client import open_redis
from handlers.app.infrastructure import open_infrastructure
from ledger.dynamodb.table import Key

pytestmark = [pytest.mark.engines, pytest.mark.slow]


async def test_dev_opens_embedded_stores_with_their_schema(tmp_path: Path):
    """The table can be read, Redis has the scripts, and each opening has its own node id."""
    ours = settings.read({"DATA_DIR": str(tmp_path)}, dev=True)
    async with AsyncExitStack() as stack:
        opened = await open_infrastructure(ours, stack)
        assert await opened.table.get(Key("CONFIG#GLOBAL", "SERVICES")) is None
        assert await opened.redis.commands.ping()
        assert opened.scripts.sha("connection_add")
        assert opened.node.startswith("node_")


async def test_a_mistyped_table_name_is_not_created(
    redis_url: str, dynamodb_endpoint: str, tmp_path: Path
):
    """Outside --dev the server says which table is missing and how to create it."""
    given = {"REDIS_URL": redis_url, "DYNAMODB_ENDPOINT": dynamodb_endpoint}
    mistyped = settings.read(
        {**given, "JWT_SECRET": "s" * 32, "DYNAMODB_TABLE": "reeyo-typo", "DATA_DIR": str(tmp_path)}
    )
    async with AsyncExitStack() as stack:
        with pytest.raises(SettingsError, match="DYNAMODB_TABLE: there is no table reeyo-typo"):
            await open_infrastructure(mistyped, stack)


async def test_a_wrong_redis_password_is_a_wrong_setting(dynamodb_endpoint: str, tmp_path: Path):
    """A Redis that refuses the password is not waited for: the setting is named."""
    engine = settings.read({"DATA_DIR": str(tmp_path), "DYNAMODB_ENDPOINT": "http://d"}, dev=True)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(embedded_engines(engine))
        redis = await stack.enter_async_context(open_redis(ours.redis_url))
        await redis.commands.config_set("requirepass", "right")
        wrong = settings.read(
            {"REDIS_URL": ours.redis_url.replace("//", "//:wrong@"),
             "DYNAMODB_ENDPOINT": dynamodb_endpoint},
            dev=True,
        )  # fmt: skip
        with pytest.raises(SettingsError, match="REDIS_URL: Redis refuses its user or password"):
            await open_infrastructure(wrong, stack)
