"""Polling for what real processes and connections do, with a deadline."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from time import monotonic

from redis.asyncio import Redis

# Far above what any condition takes; a test that waits this long has failed.
DEADLINE_S = 10.0
POLL_S = 0.005


class Until:
    """Polls conditions until they hold."""

    async def true(self, condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        """Return as soon as the condition holds; fail at the deadline. Units: seconds."""

        async def check() -> bool:
            return condition()

        await self.eventually(check, deadline_s)

    async def eventually(
        self,
        condition: Callable[[], Awaitable[bool]],
        deadline_s: float = DEADLINE_S,
        pause_s: float = POLL_S,
    ) -> None:
        """Return as soon as the awaited condition holds; fail at the deadline. Units: seconds."""
        end = monotonic() + deadline_s
        while not await condition():
            assert monotonic() < end, "the condition did not hold within the deadline"
            await asyncio.sleep(pause_s)

    async def unsubscribed(self, client: Redis, channel: str) -> None:
        """Return once a Redis channel has no subscriber."""

        async def has_none() -> bool:
            [(_, subscribers)] = await client.pubsub_shardnumsub(channel)
            return subscribers == 0

        await self.eventually(has_none)

    @asynccontextmanager
    async def running(self, *loops: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Run background loops during the block; the error of a loop is raised at its end."""
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
