"""Commands that share a round trip: each caller gets his own answer, and hears of failures."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from redis.exceptions import ResponseError

from dispatch.errors import StoreUnavailable
from dispatch.store import together
from dispatch.store.bulk import Command
from dispatch.store.together import COMMANDS_MAX, TRIPS_AT_ONCE, Together


class Server:
    """A Redis that answers with what it was asked, when it is let."""

    def __init__(self) -> None:
        self.trips: list[int] = []
        self.is_open = asyncio.Event()
        self.failure: Exception | None = None
        bulk: Any = self
        self.together = Together(bulk)

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        self.trips.append(len(commands))
        await self.is_open.wait()
        if self.failure is not None:
            raise self.failure
        return [command[1] for command in commands]

    def ask(self, count: int) -> "list[asyncio.Future[Any]]":
        asks = (self.together.ask(("GET", number)) for number in range(count))
        return [asyncio.ensure_future(ask) for ask in asks]


async def test_a_few_commands_go_at_once_and_by_themselves():
    """An idle server makes nobody wait for others."""
    server = Server()
    asked = server.ask(TRIPS_AT_ONCE)
    await asyncio.sleep(0)
    assert server.trips == [1] * TRIPS_AT_ONCE
    server.is_open.set()
    assert await asyncio.gather(*asked) == list(range(TRIPS_AT_ONCE))


async def test_many_commands_share_trips():
    """Those that come while others are under way go together, each gets its own answer."""
    server = Server()
    count = TRIPS_AT_ONCE + 2 * COMMANDS_MAX
    asked = server.ask(count)
    await asyncio.sleep(0)
    server.is_open.set()
    assert await asyncio.gather(*asked) == list(range(count))
    assert sorted(server.trips) == [1] * TRIPS_AT_ONCE + [COMMANDS_MAX] * 2


@pytest.mark.parametrize("failure", [StoreUnavailable("redis", "away"), ResponseError("a bug")])
async def test_a_failure_reaches_those_who_asked(failure: Exception):
    """Whoever asks after it is served again."""
    server = Server()
    server.failure = failure
    asked = server.ask(TRIPS_AT_ONCE + 5)
    await asyncio.sleep(0)
    server.is_open.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(each) for each in found] == [type(failure)] * len(asked)
    server.failure = None
    assert await asyncio.gather(*server.ask(3)) == [0, 1, 2]


async def test_too_many_are_told_so(monkeypatch: pytest.MonkeyPatch):
    """What waits is bounded; the one too many hears it at once."""
    monkeypatch.setattr(together, "WAITING_MAX", 3)
    server = Server()
    asked = server.ask(TRIPS_AT_ONCE + 3)
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await server.together.ask(("GET", "late"))
    server.is_open.set()
    assert len(await asyncio.gather(*asked)) == TRIPS_AT_ONCE + 3


async def test_one_who_goes_away_costs_the_others_nothing():
    """His answer is nobody's."""
    server = Server()
    asked = server.ask(TRIPS_AT_ONCE + 3)
    await asyncio.sleep(0)
    asked[-2].cancel()
    server.is_open.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [each for each in found if isinstance(each, int)] == [*range(TRIPS_AT_ONCE + 1), 4]
    assert await asyncio.gather(*server.ask(1)) == [0]
