"""Redis Sentinel: the primary that the sentinels name, and connections that follow it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import cycle
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    ConnectionError,  # noqa: A004 (redis has no other name for it)
    RedisError,
)

from dispatch.clock import SystemClock
from dispatch.settings.redis_url import RedisUrl
from dispatch.storage.redis_connection import ONLY_SERVER, OpenConnections
from dispatch.supervise import Supervisor

# A sentinel that does not answer within this time is passed over; less than a connect may take.
ANSWER_S = 0.5
# The primary is asked for this often besides, since a message of a sentinel may be lost.
ASK_EVERY_S = 1.0
# Pause after a sentinel's subscription was lost, before the next sentinel is tried.
NEXT_SENTINEL_S = 0.25
STOP_S = 2.0
# Source: https://redis.io/docs/latest/operate/oss_and_stack/management/sentinel/, Pub/Sub messages.
SWITCH_CHANNEL = "+switch-master"

log = structlog.get_logger(__name__)


@asynccontextmanager
async def follow_primary(parsed: RedisUrl, connections: OpenConnections) -> AsyncIterator[None]:
    """Let `connections` connect to the primary, and drop them where another one takes over."""
    async with AsyncExitStack() as stack:
        sentinels = [_sentinel_client(parsed, address) for address in parsed.addresses]
        for each in sentinels:
            stack.push_async_callback(each.aclose)
        primary = PrimaryLocator(parsed.service, sentinels, connections)
        connections.locate = primary.locate
        supervisor = Supervisor(SystemClock().monotonic_s)
        supervisor.spawn("sentinel", primary.run)
        stack.push_async_callback(supervisor.stop, STOP_S)
        yield


def _sentinel_client(parsed: RedisUrl, address: tuple[str, int]) -> Redis:
    # The URL carries TLS and its certificates; user, password and database are the servers' own.
    scheme, _, place = parsed.url.partition("://")
    query = place.partition("?")[2]
    client = Redis.from_url(
        f"{scheme}://sentinel/?{query}",
        socket_timeout=ANSWER_S,
        socket_connect_timeout=ANSWER_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    client.connection_pool.connection_kwargs |= {
        "host": address[0],
        "port": address[1],
        "username": parsed.sentinel_username,
        "password": parsed.sentinel_password,
    }
    return client


class PrimaryLocator:
    """Asks all sentinels for the primary of a service; the newest configuration counts.

    Source: https://redis.io/docs/latest/develop/reference/sentinel-clients/. Not the library's
    Sentinel client, which takes the first answer: a sentinel that is cut off names the old primary.
    """

    def __init__(self, service: str, sentinels: list[Redis], connections: OpenConnections) -> None:
        self._service = service
        self._sentinels = sentinels
        self._connections = connections
        self._found: tuple[str, int] | None = None

    async def locate(self) -> tuple[str, int]:
        """The primary's address now.

        Redis: SENTINEL MASTER at every sentinel, at once.
        Errors: ConnectionError of the library where no sentinel names a primary that is up.
        """
        answers = await asyncio.gather(*map(self._ask, self._sentinels))
        usable = [each for each in answers if each is not None]
        if not usable:
            raise ConnectionError(f"no sentinel names a primary for {self._service}")
        _, *address = max(usable, key=lambda each: each[0])
        found = (str(address[0]), int(address[1]))
        if self._found not in (None, found):
            log.warning("redis_primary_switched", service=self._service)
            self._connections.drop(ONLY_SERVER, "switched")
        self._found = found
        return found

    async def _ask(self, sentinel: Redis) -> tuple[int, str, int] | None:
        """Configuration epoch, host and port; None where the sentinel knows of no working one."""
        try:
            # Its type is partly unknown.
            state: Any = await sentinel.sentinel_master(self._service)
        except RedisError:
            return None
        if not state["is_master"] or state["is_sdown"] or state["is_odown"]:
            return None
        return int(state["config-epoch"]), state["ip"], int(state["port"])

    async def run(self) -> None:
        """Follow the primary, for as long as the server runs."""
        for sentinel in cycle(self._sentinels):
            with suppress(RedisError, OSError):
                await self._listen(sentinel)
            await asyncio.sleep(NEXT_SENTINEL_S)

    async def _listen(self, sentinel: Redis) -> None:
        """Ask for the primary after each switch, and every second besides."""
        async with sentinel.pubsub() as subscription:
            await subscription.subscribe(SWITCH_CHANNEL)
            while True:
                with suppress(ConnectionError):
                    await self.locate()
                await subscription.get_message(timeout=ASK_EVERY_S)
