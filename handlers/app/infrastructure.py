"""Infrastructure of a server process: its settings, clock and open stores."""

from contextlib import AsyncExitStack
from typing import NamedTuple

import structlog

from dispatch import ids
from dispatch.clock import Clock, SystemClock
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings
from dispatch.storage.embedded import embedded_engines
from dispatch.storage.redis_client import RedisClients, Scripts, open_redis
from ledger.dynamodb.client import DynamoTable, open_table
from ledger.dynamodb.schema import ensure_table

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
    Errors: EngineFailed, TableUnavailable, SchemaMismatch.
    """
    engines = await stack.enter_async_context(embedded_engines(settings))
    redis = await stack.enter_async_context(open_redis(engines.redis_url))
    table = await stack.enter_async_context(
        open_table(engines.dynamodb_endpoint, settings.aws_region, settings.dynamodb_table)
    )
    # On AWS the operator creates the table: `reeyo table create` or the template in deploy/.
    if engines.dynamodb_endpoint is not None:
        await ensure_table(table)
    scripts = Scripts(redis.commands)
    try:
        await scripts.load()
    except StoreUnavailable as error:
        log.warning("redis_unavailable_at_start", cause=error.cause)
    return Infrastructure(settings, SystemClock(), table, redis, scripts, ids.new_id("node"))
