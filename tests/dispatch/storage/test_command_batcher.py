"""Command batcher: callers share round trips, and each gets its own reply or the error."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from redis.exceptions import ResponseError

from dispatch.errors import StoreUnavailable
from dispatch.storage.command_batcher import LIMITS, batch_commands
from dispatch.storage.pipeline import Command, Pipeline
from tests import virtual_time


class FakePipeline:
    """A pipeline that replies with each command's second word, after a while."""

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []
        self.failure: Exception | None = None
        self.batcher = batch_commands(cast("Pipeline", self))

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        self.batch_sizes.append(len(commands))
        await virtual_time.sleep(0.001)
        if self.failure is not None:
            raise self.failure
        return [command[1] for command in commands]

    def request(self, count: int) -> "list[asyncio.Future[Any]]":
        requests = (self.batcher.request(("GET", number)) for number in range(count))
        return [asyncio.ensure_future(each) for each in requests]


def test_commands_share_round_trips():
    """Each caller gets its own reply, and no round trip carries more than its maximum."""

    async def main() -> None:
        pipeline, count = FakePipeline(), 2 * LIMITS.batch_max + 1
        assert await asyncio.gather(*pipeline.request(count)) == list(range(count))
        assert pipeline.batch_sizes == [LIMITS.batch_max, LIMITS.batch_max, 1]

    virtual_time.run(main())


@pytest.mark.parametrize("failure", [StoreUnavailable("redis", "away"), ResponseError("a bug")])
def test_failure_reaches_every_caller(failure: Exception):
    """Every caller of a failed round trip gets its error; later callers are served again."""

    async def main() -> None:
        pipeline = FakePipeline()
        pipeline.failure = failure
        found = await asyncio.gather(*pipeline.request(5), return_exceptions=True)
        assert found == [failure] * 5
        pipeline.failure = None
        assert await asyncio.gather(*pipeline.request(3)) == [0, 1, 2]

    virtual_time.run(main())


def test_full_queue_raises_store_unavailable():
    """A command above the queue's bound raises StoreUnavailable; those in it are served."""

    async def main() -> None:
        pipeline = FakePipeline()
        requests = pipeline.request(LIMITS.waiting_max + 1)
        found = await asyncio.gather(*requests, return_exceptions=True)
        assert found[:-1] == list(range(LIMITS.waiting_max))
        assert isinstance(found[-1], StoreUnavailable)

    virtual_time.run(main())
