"""Commands that share a round trip to Redis: each caller gets his own answer, or hears why not."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ResponseError

from dispatch.errors import StoreUnavailable
from dispatch.storage.command_batcher import LIMITS, batch_commands
from dispatch.storage.pipeline import Command
from tests import virtual_time


class FakePipeline:
    """A Redis that answers with what it was asked, a while after."""

    def __init__(self) -> None:
        self.trips: list[int] = []
        self.failure: Exception | None = None
        bulk: Any = self
        self.batcher = batch_commands(bulk)

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        self.trips.append(len(commands))
        await virtual_time.sleep(0.001)
        if self.failure is not None:
            raise self.failure
        return [command[1] for command in commands]

    def request(self, count: int) -> "list[asyncio.Future[Any]]":
        asks = (self.batcher.request(("GET", number)) for number in range(count))
        return [asyncio.ensure_future(ask) for ask in asks]


def test_commands_share_round_trips():
    """Each caller gets his own answer, and no trip carries more than it may."""

    async def main() -> None:
        server, count = FakePipeline(), 2 * LIMITS.batch_max + 1
        assert await asyncio.gather(*server.request(count)) == list(range(count))
        assert server.trips == [LIMITS.batch_max, LIMITS.batch_max, 1]

    virtual_time.run(main())


@pytest.mark.parametrize("failure", [StoreUnavailable("redis", "away"), ResponseError("a bug")])
def test_failure_reaches_every_caller(failure: Exception):
    """Whoever asks after it is served again."""

    async def main() -> None:
        server = FakePipeline()
        server.failure = failure
        found = await asyncio.gather(*server.request(5), return_exceptions=True)
        assert found == [failure] * 5
        server.failure = None
        assert await asyncio.gather(*server.request(3)) == [0, 1, 2]

    virtual_time.run(main())


def test_full_queue_raises_store_unavailable():
    """What waits is bounded; the one too many hears it at once."""

    async def main() -> None:
        server = FakePipeline()
        asked = server.request(LIMITS.waiting_max + 1)
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert found[:-1] == list(range(LIMITS.waiting_max))
        assert isinstance(found[-1], StoreUnavailable)

    virtual_time.run(main())
