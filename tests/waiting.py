"""Waiting for real processes and connections: by asking again, with a deadline."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic

from redis.asyncio import Redis

# Far above what any of these takes; a test that waits so long has failed.
DEADLINE_S = 10.0
POLL_S = 0.005


class Until:
    """Asks until something holds."""

    async def true(self, condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        """Return as soon as `holds()`; fail at the deadline."""

        async def ask() -> bool:
            return condition()

        await self.eventually(ask, deadline_s)

    async def eventually(
        self,
        condition: Callable[[], Awaitable[bool]],
        deadline_s: float = DEADLINE_S,
        pause_s: float = POLL_S,
    ) -> None:
        """Return as soon as `await holds()`; fail at the deadline."""
        end = monotonic() + deadline_s
        while not await condition():
            assert monotonic() < end, "what the test waits for did not come"
            await asyncio.sleep(pause_s)

    async def unsubscribed(self, client: Redis, channel: str) -> None:
        """Return once nobody is subscribed to a Redis channel."""

        async def nobody() -> bool:
            [(_, listeners)] = await client.pubsub_shardnumsub(channel)
            return listeners == 0

        await self.eventually(nobody)

    @asynccontextmanager
    async def running(self, *loops: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Keep background loops running around the test's body; their failure is the test's."""
        tasks = [asyncio.ensure_future(loop()) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                if not task.done():
                    task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
