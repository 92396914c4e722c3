"""Request batcher: requests share calls, wait only under load, and fail with their call."""

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
    """Too many requests wait."""


class DoublingService:
    """A service that doubles numbers; a call takes `call_s`."""

    def __init__(self, limits: BatcherLimits = LIMITS) -> None:
        # When each call began, and its requests.
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
        """The number of requests of each call."""
        return [len(requests) for _, requests in self.calls]

    async def flood(self, seconds: float, per_ms: int) -> list[float]:
        """Send `per_ms` requests a millisecond for a while; how long each waited."""
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
    """A request to an idle batcher is sent at once and alone."""

    async def main() -> None:
        service = DoublingService()
        assert await service.batcher.request(21) == 42
        assert service.calls == [(0.0, [21])]

    virtual_time.run(main())


def test_simultaneous_requests_share_a_call():
    """Requests of one tick of the loop share one call."""

    async def main() -> None:
        service = DoublingService()
        assert await asyncio.gather(*service.request(1, 2, 3)) == [2, 4, 6]
        assert service.calls == [(0.0, [1, 2, 3])]

    virtual_time.run(main())


def test_requests_during_calls_share_the_next_call():
    """While two calls run, further requests wait and share the next call."""

    async def main() -> None:
        service = DoublingService()
        pending = service.request(1)
        await asyncio.sleep(0)
        pending += service.request(2)
        await virtual_time.sleep(CALL_S / 2)
        pending += service.request(3, 4)
        assert await asyncio.gather(*pending) == [2, 4, 6, 8]
        assert [requests for _, requests in service.calls] == [[1], [2], [3, 4]]
        assert service.calls[2][0] == CALL_S

    virtual_time.run(main())


def test_call_has_a_maximum_size():
    """Requests above the maximum of a call are sent with the next ones."""

    async def main() -> None:
        service = DoublingService()
        assert await asyncio.gather(*service.request(*range(250))) == [2 * n for n in range(250)]
        assert service.sizes == [100, 100, 50]

    virtual_time.run(main())


def test_requests_linger_under_load():
    """At three times the unbatched rate calls start 20 ms apart, and requests wait no longer."""

    async def main() -> None:
        service = DoublingService()
        waits_s = await service.flood(1.0, per_ms=3)
        late = [requests for began_s, requests in service.calls if began_s > 0.2]
        assert len(late) <= 1 + 0.8 / LIMITS.linger_s
        assert {len(requests) for requests in late[:-1]} <= {57, 60, 63}
        assert max(waits_s) <= LIMITS.linger_s + 2 * CALL_S

    virtual_time.run(main())


def test_moderate_load_does_not_linger():
    """Up to the unbatched rate a request waits only for calls."""

    async def main() -> None:
        service = DoublingService()
        waits_s = await service.flood(1.0, per_ms=1)
        assert max(waits_s) <= 2 * CALL_S

    virtual_time.run(main())


def test_linger_ends_soon_after_a_flood():
    """A request soon after a flood is sent at once."""

    async def main() -> None:
        service = DoublingService()
        await service.flood(2.0, per_ms=20)
        await virtual_time.sleep(2 * LIMITS.linger_s)
        began_s = virtual_time.clock().monotonic_s()
        await service.batcher.request(1)
        assert virtual_time.clock().monotonic_s() - began_s <= 2 * CALL_S

    virtual_time.run(main())


def test_full_batch_is_sent_at_once():
    """The request that fills a lingering batch sends it."""

    async def main() -> None:
        service = DoublingService()
        await asyncio.gather(*service.request(*range(60)))
        began_s = virtual_time.clock().monotonic_s()
        first = service.request(*range(10))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert service.sizes == [60]
        await asyncio.gather(*first, *service.request(*range(90)))
        assert service.calls[1][0] == began_s
        assert service.sizes == [60, 100]

    virtual_time.run(main())


def test_failure_reaches_only_its_batch():
    """All requests of a failed call get its error, whatever it is; later ones are served."""

    async def main() -> None:
        for failure in (Overloaded("away"), RuntimeError("a bug")):
            service = DoublingService()
            service.failure = failure
            pending = service.request(*range(105))
            found: list[Any] = await asyncio.gather(*pending, return_exceptions=True)
            assert found == [failure] * 105
            service.failure = None
            assert await service.batcher.request(4) == 8

    virtual_time.run(main())


def test_cancelled_caller_does_not_affect_the_batch():
    """A cancelled caller's request is still sent, and the others get their responses."""

    async def main() -> None:
        service = DoublingService()
        pending = service.request(1, 2, 3)
        await asyncio.sleep(0)
        pending[1].cancel()
        found: list[Any] = await asyncio.gather(*pending, return_exceptions=True)
        assert isinstance(found[1], asyncio.CancelledError)
        assert (found[0], found[2]) == (2, 6)
        assert service.calls == [(0.0, [1, 2, 3])]

    virtual_time.run(main())


def test_cancelled_call_cancels_its_callers():
    """Callers of a cancelled call are cancelled too."""

    async def main() -> None:
        service = DoublingService()
        service.call_s = 60.0
        pending = service.request(1)
        await virtual_time.sleep(CALL_S)
        mine = {asyncio.current_task(), *pending}
        for task in asyncio.all_tasks() - mine:
            task.cancel()
        [found] = await asyncio.gather(*pending, return_exceptions=True)
        assert isinstance(found, asyncio.CancelledError)

    virtual_time.run(main())


def test_full_queue_refuses_requests():
    """A request above the bound of the queue is refused at once; those in it are served."""

    async def main() -> None:
        service = DoublingService(LIMITS._replace(waiting_max=3))
        found: list[Any] = await asyncio.gather(
            *service.request(1, 2, 3, 4), return_exceptions=True
        )
        assert found[:3] == [2, 4, 6]
        assert isinstance(found[3], Overloaded)

    virtual_time.run(main())
