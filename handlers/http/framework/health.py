"""Health endpoints: /healthz (liveness) and /readyz (readiness)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypedDict

from aiohttp import web

from concurrency.shared_result import SharedResult
from dispatch.errors import StoreUnavailable
from dispatch.storage.failover.write_probe import WriteProbe
from dispatch.storage.pubsub import PubSub
from dispatch.storage.redis_client import RedisClients, Scripts
from handlers.http.framework.envelope import HTTP_EDGE, PUBLIC, Route, failure_response
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Key, TableUnavailable

# Checks that one store answers. Errors: StoreUnavailable, TableUnavailable.
Probe = Callable[[], Awaitable[object]]

# Source: chosen; orchestrators probe every few seconds and wait one second by default.
PROBE_S_MAX = 1.0
# Forty probes at once, or a flood of them, cost the stores one. Source: chosen; a second is the
# shortest interval of the usual orchestrators.
READINESS_MAX_AGE_S = 1.0


class HealthView(TypedDict):
    """The data of /healthz and /readyz."""

    status: str


def store_probes(
    redis: RedisClients, scripts: Scripts, pubsub: PubSub, table: DynamoTable
) -> dict[str, Probe]:
    """A probe for each store, by the store's name, and for the messages between nodes.

    Redis is probed by a write, since a replica answers reads. DynamoDB is probed by a read: no
    endpoint of it takes reads alone. Source: decision 28.
    """

    async def probe_pubsub() -> None:
        if not pubsub.is_working:
            raise StoreUnavailable("redis", "messages do not arrive")

    async def probe_table() -> None:
        await table.get(Key("CONFIG#GLOBAL", "SERVICES"))

    return {
        "redis": WriteProbe(redis, scripts).run,
        "pubsub": probe_pubsub,
        "dynamodb": probe_table,
    }


async def find_down(probes: Mapping[str, Probe], probe_s_max: float = PROBE_S_MAX) -> list[str]:
    """The names of the probes that fail, or do not answer in time. Units: seconds."""
    results = await asyncio.gather(*(_is_up(probe, probe_s_max) for probe in probes.values()))
    return [name for name, is_up in zip(probes, results, strict=True) if not is_up]


def _never_stopping() -> bool:
    return False


def routes(
    probes: Mapping[str, Probe],
    is_stopping: Callable[[], bool] = _never_stopping,
    probe_s_max: float = PROBE_S_MAX,
) -> list[Route]:
    """The endpoints for orchestrators; `probes` by the name of their store.

    Units: seconds that a probe may take.
    """
    readiness = SharedResult(lambda: find_down(probes, probe_s_max), READINESS_MAX_AGE_S)

    async def get_ready(request: web.Request) -> HealthView | web.Response:
        """The server and its stores can serve requests; otherwise which part cannot."""
        if is_stopping():
            return failure_response(
                503, "unavailable", "the server is stopping", {"down": ["server"]}
            )
        down = await readiness.get(request.app[HTTP_EDGE].clock.monotonic_s())
        if down:
            verb = "does" if len(down) == 1 else "do"
            message = f"{' and '.join(down)} {verb} not answer"
            return failure_response(503, "unavailable", message, {"down": down})
        return {"status": "ready"}

    return [
        Route("GET", "/healthz", PUBLIC, get_health, is_limited=False),
        Route("GET", "/readyz", PUBLIC, get_ready, is_limited=False),
    ]


async def get_health(_request: web.Request) -> HealthView:
    """The process runs and its event loop turns."""
    return {"status": "alive"}


async def _is_up(probe: Probe, probe_s_max: float) -> bool:
    try:
        async with asyncio.timeout(probe_s_max):
            await probe()
    except (TimeoutError, OSError, StoreUnavailable, TableUnavailable):
        return False
    return True
