"""Questions that share a call: none is lost or waits for nothing, failures reach who asked."""

import asyncio
from collections.abc import Sequence
from typing import Any

from concurrency.request_batcher import BatcherLimits, RequestBatcher
from tests import virtual_time

LIMITS = BatcherLimits(
    concurrent_calls_max=2,
    batch_max=100,
    waiting_max=1_000,
    unbatched_per_s=1_000,
    unbatched_burst=10,
    linger_s=0.02,
)
CALL_S = 0.001


class Overloaded(Exception):
    """Nobody answers."""


class DoublingService:
    """Answers each number with its double, some time after it was asked."""

    def __init__(self, limits: BatcherLimits = LIMITS) -> None:
        # Each call as (when it began, what it was asked).
        self.calls: list[tuple[float, list[int]]] = []
        self.failure: Exception | None = None
        self.call_s = CALL_S
        self.batcher: RequestBatcher[int, int] = RequestBatcher(self.run, limits, Overloaded)

    async def run(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append((virtual_time.clock().monotonic_s(), list(numbers)))
        await virtual_time.sleep(self.call_s)
        if self.failure is not None:
            raise self.failure
        return [2 * number for number in numbers]

    def request(self, *numbers: int) -> "list[asyncio.Future[int]]":
        return [asyncio.ensure_future(self.batcher.request(number)) for number in numbers]

    @property
    def sizes(self) -> list[int]:
        """How many questions each call carried."""
        return [len(asked) for _, asked in self.calls]

    async def flood(self, seconds: float, per_ms: int) -> list[float]:
        """Ask steadily for a while; how long each waited for his answer."""
        end_s = virtual_time.clock().monotonic_s() + seconds
        waits_s: list[float] = []

        async def one(number: int) -> None:
            began_s = virtual_time.clock().monotonic_s()
            await self.batcher.request(number)
            waits_s.append(virtual_time.clock().monotonic_s() - began_s)

        async with asyncio.TaskGroup() as group:
            while virtual_time.clock().monotonic_s() < end_s:
                for number in range(per_ms):
                    group.create_task(one(number))
                await virtual_time.sleep(0.001)
        return waits_s


def test_idle_request_is_sent_at_once():
    """One question goes at once and by itself."""

    async def main() -> None:
        store = DoublingService()
        assert await store.batcher.request(21) == 42
        assert store.calls == [(0.0, [21])]

    virtual_time.run(main())


def test_simultaneous_requests_share_a_call():
    """What one app needs to know of three kinds costs one call."""

    async def main() -> None:
        store = DoublingService()
        assert await asyncio.gather(*store.request(1, 2, 3)) == [2, 4, 6]
        assert store.calls == [(0.0, [1, 2, 3])]

    virtual_time.run(main())


def test_requests_during_calls_share_the_next_call():
    """Two calls run side by side, so that a slow one does not stop everybody."""

    async def main() -> None:
        store = DoublingService()
        asked = store.request(1)
        await asyncio.sleep(0)
        asked += store.request(2)
        await virtual_time.sleep(CALL_S / 2)
        asked += store.request(3, 4)
        assert await asyncio.gather(*asked) == [2, 4, 6, 8]
        assert [asked for _, asked in store.calls] == [[1], [2], [3, 4]]
        assert store.calls[2][0] == CALL_S

    virtual_time.run(main())


def test_a_call_carries_no_more_than_it_may():
    """The rest goes with the next ones."""

    async def main() -> None:
        store = DoublingService()
        assert await asyncio.gather(*store.request(*range(250))) == [2 * n for n in range(250)]
        assert store.sizes == [100, 100, 50]

    virtual_time.run(main())


def test_requests_linger_under_load():
    """Three in a millisecond, where one is free: after the free ones calls begin 20 ms apart."""

    async def main() -> None:
        store = DoublingService()
        waits_s = await store.flood(1.0, per_ms=3)
        late = [asked for began_s, asked in store.calls if began_s > 0.2]
        assert len(late) <= 1 + 0.8 / LIMITS.linger_s
        assert {len(asked) for asked in late[:-1]} <= {57, 60, 63}
        assert max(waits_s) <= LIMITS.linger_s + 2 * CALL_S

    virtual_time.run(main())


def test_moderate_load_does_not_linger():
    """Nobody waits longer than for his call where fewer ask than are free."""

    async def main() -> None:
        store = DoublingService()
        waits_s = await store.flood(1.0, per_ms=1)
        assert max(waits_s) <= 2 * CALL_S

    virtual_time.run(main())


def test_linger_ends_soon_after_a_flood():
    """What was asked in a minute of load is not held against the next minute."""

    async def main() -> None:
        store = DoublingService()
        await store.flood(2.0, per_ms=20)
        await virtual_time.sleep(2 * LIMITS.linger_s)
        began_s = virtual_time.clock().monotonic_s()
        await store.batcher.request(1)
        assert virtual_time.clock().monotonic_s() - began_s <= 2 * CALL_S

    virtual_time.run(main())


def test_full_batch_is_sent_at_once():
    """Whoever makes it full sends it."""

    async def main() -> None:
        store = DoublingService()
        await asyncio.gather(*store.request(*range(60)))
        began_s = virtual_time.clock().monotonic_s()
        few = store.request(*range(10))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert store.sizes == [60]
        await asyncio.gather(*few, *store.request(*range(90)))
        assert store.calls[1][0] == began_s
        assert store.sizes == [60, 100]

    virtual_time.run(main())


def test_failure_reaches_only_its_batch():
    """Whatever it is; whoever asks after it is served again."""

    async def main() -> None:
        for failure in (Overloaded("away"), RuntimeError("a bug of ours")):
            store = DoublingService()
            store.failure = failure
            asked = store.request(*range(105))
            found: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
            assert found == [failure] * 105
            store.failure = None
            assert await store.batcher.request(4) == 8

    virtual_time.run(main())


def test_cancelled_caller_does_not_affect_the_batch():
    """What he asked is asked all the same, for it may change something; others are answered."""

    async def main() -> None:
        store = DoublingService()
        asked = store.request(1, 2, 3)
        await asyncio.sleep(0)
        asked[1].cancel()
        found: list[Any] = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(found[1], asyncio.CancelledError)
        assert (found[0], found[2]) == (2, 6)
        assert store.calls == [(0.0, [1, 2, 3])]

    virtual_time.run(main())


def test_cancelled_call_cancels_its_callers():
    """Nobody is left waiting when the server ends."""

    async def main() -> None:
        store = DoublingService()
        store.call_s = 60.0
        asked = store.request(1)
        await virtual_time.sleep(CALL_S)
        mine = {asyncio.current_task(), *asked}
        for task in asyncio.all_tasks() - mine:
            task.cancel()
        [found] = await asyncio.gather(*asked, return_exceptions=True)
        assert isinstance(found, asyncio.CancelledError)

    virtual_time.run(main())


def test_full_queue_refuses_requests():
    """Memory has a bound; whoever comes on top is told at once."""

    async def main() -> None:
        store = DoublingService(LIMITS._replace(waiting_max=3))
        found: list[Any] = await asyncio.gather(*store.request(1, 2, 3, 4), return_exceptions=True)
        assert found[:3] == [2, 4, 6]
        assert isinstance(found[3], Overloaded)

    virtual_time.run(main())
