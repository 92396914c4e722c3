"""Many callers at about the same time cost one run."""

import asyncio

import pytest

from concurrency.shared_result import SharedResult


class Work:
    """Counts its runs; each waits until it may end."""

    def __init__(self) -> None:
        self.runs = 0
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.runs += 1
        await self.may_end.wait()
        return self.runs


async def test_callers_share_a_run_and_its_result():
    """Forty callers at once, and others within a second, cost one run; a later one the next."""
    work = Work()
    shared = SharedResult(work, 1.0)
    callers = [asyncio.ensure_future(shared.get(10.0)) for _ in range(40)]
    await asyncio.sleep(0)
    work.may_end.set()
    assert await asyncio.gather(*callers) == [1] * 40
    assert [await shared.get(10.999), await shared.get(11.0), await shared.get(11.5)] == [1, 2, 2]
    assert work.runs == 2


async def test_a_run_that_takes_longer_is_not_repeated():
    """Callers wait for it, however old it is."""
    work = Work()
    shared = SharedResult(work, 1.0)
    callers = [asyncio.ensure_future(shared.get(now_s)) for now_s in (10.0, 20.0, 30.0)]
    await asyncio.sleep(0)
    work.may_end.set()
    assert await asyncio.gather(*callers) == [1, 1, 1]


async def test_a_caller_that_is_cancelled_leaves_the_run_to_the_others():
    """The run goes on."""
    work = Work()
    shared = SharedResult(work, 1.0)
    first, second = (asyncio.ensure_future(shared.get(10.0)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    work.may_end.set()
    assert await second == 1
    assert first.cancelled()


async def test_an_error_is_shared_as_well():
    """Every caller gets it, and the next run is tried when its time has come."""
    runs: list[None] = []

    async def fail() -> None:
        runs.append(None)
        raise ZeroDivisionError

    shared = SharedResult(fail, 1.0)
    for now_s in (10.0, 10.5, 11.0):
        with pytest.raises(ZeroDivisionError):
            await shared.get(now_s)
    assert len(runs) == 2
