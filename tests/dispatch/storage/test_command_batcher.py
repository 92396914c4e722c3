"""Commands that share a round trip to Redis: each caller gets his own answer, or hears why not."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ResponseError

from dispatch.errors import StoreUnavailable
from dispatch.storage.command_batcher import TERMS, together
from dispatch.storage.pipeline import Command
from tests import virtual_time


class Server:
    """A Redis that answers with what it was asked, a while after."""

    def __init__(self) -> None:
        self.trips: list[int] = []
        self.failure: Exception | None = None
        bulk: Any = self
        self.together = together(bulk)

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        self.trips.append(len(commands))
        await virtual_time.sleep(0.001)
        if self.failure is not None:
            raise self.failure
        return [command[1] for command in commands]

    def ask(self, count: int) -> "list[asyncio.Future[Any]]":
        asks = (self.together.ask(("GET", number)) for number in range(count))
        return [asyncio.ensure_future(ask) for ask in asks]


def test_many_commands_share_trips():
    """Each caller gets his own answer, and no trip carries more than it may."""

    async def main() -> None:
        server, count = Server(), 2 * TERMS.asked_max + 1
        assert await asyncio.gather(*server.ask(count)) == list(range(count))
        assert server.trips == [TERMS.asked_max, TERMS.asked_max, 1]

    virtual_time.run(main())


@pytest.mark.parametrize("failure", [StoreUnavailable("redis", "away"), ResponseError("a bug")])
def test_a_failure_reaches_those_who_asked(failure: Exception):
    """Whoever asks after it is served again."""

    async def main() -> None:
        server = Server()
        server.failure = failure
        found = await asyncio.gather(*server.ask(5), return_exceptions=True)
        assert found == [failure] * 5
        server.failure = None
        assert await asyncio.gather(*server.ask(3)) == [0, 1, 2]

    virtual_time.run(main())


def test_too_many_are_told_that_redis_does_not_answer():
    """What waits is bounded; the one too many hears it at once."""

    async def main() -> None:
        server = Server()
        asked = server.ask(TERMS.waiting_max + 1)
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert found[:-1] == list(range(TERMS.waiting_max))
        assert isinstance(found[-1], StoreUnavailable)

    virtual_time.run(main())
