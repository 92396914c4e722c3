"""Whether the process lives, whether it can work, and its figures."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from dispatch import metrics
from dispatch.errors import StoreUnavailable
from dispatch.storage.redis_client import RedisClients, translate_redis_errors
from handlers.http.framework.envelope import PUBLIC, Route, failure_response
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Key, TableUnavailable

# Asks one store for a sign of life. Errors: StoreUnavailable, TableUnavailable.
Probe = Callable[[], Awaitable[object]]

# Source: orchestrators ask every few seconds and wait one second by default.
PROBE_S_MAX = 1.0


def store_probes(redis: RedisClients, table: DynamoTable) -> dict[str, Probe]:
    """What is asked of each store, by its name."""

    async def ask_redis() -> None:
        with translate_redis_errors():
            await redis.commands.ping()

    async def ask_table() -> None:
        await table.get(Key("CONFIG#GLOBAL", "SERVICES"))

    return {"redis": ask_redis, "dynamodb": ask_table}


def _never_stopping() -> bool:
    return False


def routes(
    probes: Mapping[str, Probe], is_stopping: Callable[[], bool] = _never_stopping
) -> list[Route]:
    """The endpoints for those who watch the server; `probes` by the name of their store."""

    async def get_ready(_request: web.Request) -> object:
        """The server and its stores can take work; otherwise which part is down."""
        if is_stopping():
            return failure_response(
                503, "unavailable", "the server goes away", {"down": ["server"]}
            )
        answers = await asyncio.gather(*(_is_up(probe) for probe in probes.values()))
        down = [name for name, is_up in zip(probes, answers, strict=True) if not is_up]
        if down:
            verb = "does" if len(down) == 1 else "do"
            message = f"{' and '.join(down)} {verb} not answer"
            return failure_response(503, "unavailable", message, {"down": down})
        return {"status": "ready"}

    return [
        Route("GET", "/healthz", PUBLIC, get_health, is_limited=False),
        Route("GET", "/readyz", PUBLIC, get_ready, is_limited=False),
        Route("GET", "/metrics", PUBLIC, get_metrics, is_limited=False),
    ]


async def get_health(_request: web.Request) -> object:
    """The process runs and its loop turns."""
    return {"status": "alive"}


async def get_metrics(_request: web.Request) -> web.Response:
    """Every series, in Prometheus' text form."""
    metrics.TASKS.set(len(asyncio.all_tasks()))
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _is_up(probe: Probe) -> bool:
    try:
        async with asyncio.timeout(PROBE_S_MAX):
            await probe()
    except (TimeoutError, OSError, StoreUnavailable, TableUnavailable):
        return False
    return True
