"""The killable process of the crash tests."""

import asyncio

import pytest

from tests import virtual_time
from tests.ledger.scenarios.killable_process import KillableProcess


def test_a_process_dies_without_cleaning_up() -> None:
    """After its last await neither its finally clause nor its other tasks go on."""
    done: list[str] = []

    async def helper() -> None:
        for number in range(9):
            await virtual_time.clock().sleep(1)
            done.append(f"helper {number}")

    async def work() -> None:
        task = asyncio.ensure_future(helper())
        try:
            await virtual_time.clock().sleep(1.5)
            done.append("work")
            await task
        finally:
            await virtual_time.clock().sleep(1)
            done.append("clean")

    async def main() -> tuple[object, int]:
        process = KillableProcess(dies_at_await=4)
        answer = await process.run(work())
        await virtual_time.clock().sleep(60)
        return answer, process.awaits

    assert virtual_time.run(main()) == (None, 4)
    assert done == ["helper 0", "work"]


def test_a_process_that_survives_returns_its_result() -> None:
    """A process that is not killed returns its result, and raises its errors."""

    async def seven() -> int:
        await virtual_time.clock().sleep(1)
        return 7

    async def main() -> tuple[int | None, int]:
        process = KillableProcess()
        with pytest.raises(ValueError, match="invalid literal"):
            await KillableProcess().run(asyncio.to_thread(int, "x"))
        return await process.run(seven()), process.awaits

    assert virtual_time.run(main()) == (7, 1)
