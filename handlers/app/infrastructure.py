"""Infrastructure of a server process: its settings, clock and open stores."""

from contextlib import AsyncExitStack
from typing import NamedTuple

import structlog

from dispatch import ids
from dispatch.clock import Clock, SystemClock
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings, SettingsError
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.redis_client import (
    RedisClients,
    Scripts,
    is_authentication_refused,
    open_redis,
)
from ledger.dynamodb.client import DynamoTable, open_table
from ledger.dynamodb.schema import (
    AccessRefused,
    SchemaMismatch,
    TableMissing,
    check_table,
    ensure_table,
)

log = structlog.get_logger(__name__)


class Infrastructure(NamedTuple):
    """What every part of the server is built on; `node` is this process's id."""

    settings: Settings
    clock: Clock
    table: DynamoTable
    redis: RedisClients
    scripts: Scripts
    node: str


async def open_infrastructure(settings: Settings, stack: AsyncExitStack) -> Infrastructure:
    """Start the embedded engines that the settings ask for, and open both stores.

    `stack` closes them again. A Redis that is away is not waited for.
    Errors: EngineFailed, TableUnavailable; SettingsError where a store refuses what is configured.
    """
    engines = await stack.enter_async_context(embedded_engines(settings))
    redis = await stack.enter_async_context(open_redis(engines.redis_url))
    table = await stack.enter_async_context(
        open_table(engines.dynamodb_endpoint, settings.aws_region, settings.dynamodb_table)
    )
    await _prepare_table(table, settings)
    scripts = Scripts(redis.commands)
    try:
        await scripts.load()
    except StoreUnavailable as error:
        if is_authentication_refused(error):
            raise SettingsError(
                f"REDIS_URL: Redis refuses its user or password: {error.cause}"
            ) from error
        log.warning("redis_unavailable_at_start", cause=error.cause)
    return Infrastructure(settings, SystemClock(), table, redis, scripts, ids.new_id("node"))


async def _prepare_table(table: DynamoTable, settings: Settings) -> None:
    """Create the table on engines of a laptop; elsewhere the operator has created it.

    A mistyped name would otherwise become a second, empty table.
    """
    try:
        if settings.embeds_dynamodb or settings.dev:
            await ensure_table(table)
        else:
            await check_table(table)
    except TableMissing as error:
        raise SettingsError(
            f"DYNAMODB_TABLE: {error}: correct the name, or run `reeyo table create`"
        ) from error
    except SchemaMismatch as error:
        raise SettingsError(f"DYNAMODB_TABLE: {error}") from error
    except AccessRefused as error:
        raise SettingsError(f"DynamoDB refuses the AWS credentials: {error}") from error
