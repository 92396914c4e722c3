"""Tests of the virtual loop: time passes only by jumping to timers."""

import asyncio

import pytest

from tests import virtual_time


def test_a_long_wait_takes_no_time() -> None:
    """A year of sleep takes no time, and both clocks show that it has passed."""

    async def main() -> tuple[float, int]:
        await virtual_time.clock().sleep(365 * 86_400)
        return virtual_time.clock().monotonic_s(), virtual_time.clock().now_ms()

    assert virtual_time.run(main()) == (31_536_000.0, virtual_time.START_MS + 31_536_000_000)


def test_timers_fire_in_their_order() -> None:
    """Sleepers wake in the order of their times."""
    woken: list[float] = []

    async def sleeper(seconds: float) -> None:
        await virtual_time.clock().sleep(seconds)
        woken.append(asyncio.get_running_loop().time())

    async def main() -> None:
        await asyncio.gather(*map(sleeper, [0.3, 0.1, 0.2]))

    virtual_time.run(main())
    assert woken == [0.1, 0.2, 0.3]


def test_timeouts_use_virtual_time() -> None:
    """asyncio.timeout expires at its virtual time."""

    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        return virtual_time.clock().monotonic_s()

    assert virtual_time.run(main()) == 5.0


def test_a_wait_that_cannot_end_is_an_error() -> None:
    """A wait that nothing can end raises Stalled instead of hanging."""

    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(virtual_time.Stalled):
        virtual_time.run(main())


def test_work_for_threads_runs_in_place() -> None:
    """Work for a thread runs in place, and its error reaches the caller."""

    async def main() -> int:
        with pytest.raises(ValueError, match="invalid literal"):
            await asyncio.to_thread(int, "x")
        return await asyncio.to_thread(int, "7")

    assert virtual_time.run(main()) == 7
