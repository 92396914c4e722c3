"""Commands of many callers in one round trip to Redis."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.exceptions import ResponseError

from dispatch.errors import StoreUnavailable
from dispatch.store.bulk import Bulk, Command

# Round trips at a time; while so many are on their way, further commands wait and go together. An
# idle server sends each at once and by itself.
TRIPS_AT_ONCE = 2
COMMANDS_MAX = 200
# Callers who may wait; above it they are told that Redis does not answer.
WAITING_MAX = 20_000


class _Asked(NamedTuple):
    command: Command
    answer: "asyncio.Future[Any]"


class Together:
    """Asks one thing for each caller, for several at once where several wait.

    Only for what may fail together: where one command of a trip fails, all of its callers hear so.
    Source: measured 2026-11-21, a script called through the library takes 0.3 ms of CPU, in a
    trip with others 0.03 ms.
    """

    def __init__(self, bulk: Bulk) -> None:
        self._bulk = bulk
        self._waiting: deque[_Asked] = deque()
        self._trips = 0
        self._running: set[asyncio.Task[None]] = set()

    async def ask(self, command: Command) -> Any:
        """The answer to one command, sent after this call began.

        Redis: one round trip, shared with others.
        Errors: StoreUnavailable; ResponseError for a bug of ours, or of one who shared the trip.
        """
        if self._trips < TRIPS_AT_ONCE:
            self._trips += 1
            try:
                [answer] = await self._bulk.run([command])
            finally:
                self._trip_ended()
            return answer
        if len(self._waiting) >= WAITING_MAX:
            raise StoreUnavailable("redis", f"{len(self._waiting)} commands wait already")
        asked = _Asked(command, asyncio.get_running_loop().create_future())
        self._waiting.append(asked)
        return await asked.answer

    def _trip_ended(self) -> None:
        self._trips -= 1
        if self._waiting:
            self._trips += 1
            count = min(len(self._waiting), COMMANDS_MAX)
            batch = [self._waiting.popleft() for _ in range(count)]
            task = asyncio.get_running_loop().create_task(self._trip(batch))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _trip(self, batch: Sequence[_Asked]) -> None:
        try:
            answers = await self._bulk.run([asked.command for asked in batch])
        except (StoreUnavailable, ResponseError) as error:
            for asked in _still_wanted(batch):
                asked.answer.set_exception(error)
        else:
            for asked, answer in zip(batch, answers, strict=True):
                if not asked.answer.done():
                    asked.answer.set_result(answer)
        finally:
            # Nobody is left waiting for a trip that a bug or the end of the server has broken.
            for asked in _still_wanted(batch):
                asked.answer.cancel()
            self._trip_ended()


def _still_wanted(batch: Sequence[_Asked]) -> list[_Asked]:
    return [asked for asked in batch if not asked.answer.done()]
