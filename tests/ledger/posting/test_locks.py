"""Locks and account shards inside one process."""

import asyncio

import pytest

from concurrency.backoff import MAX_S, delay_s
from ledger.posting.locks import AccountShards, KeyedLocks


async def test_one_name_is_held_by_one_at_a_time() -> None:
    """A held name blocks others that want it, and nobody else."""
    locks = KeyedLocks()
    inside: list[str] = []
    go = asyncio.Event()

    async def hold(who: str, *names: str) -> None:
        async with locks.hold(names):
            inside.append(who)
            await go.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(hold("first", "a", "b"))
        await asyncio.sleep(0)
        group.create_task(hold("second", "b", "c"))
        group.create_task(hold("third", "d"))
        for _ in range(5):
            await asyncio.sleep(0)
        assert inside == ["first", "third"]
        go.set()
    assert inside == ["first", "third", "second"]
    assert len(locks) == 0


async def test_locks_in_opposite_order_do_not_deadlock() -> None:
    """Holders of the same names in opposite order all finish."""
    locks = KeyedLocks()

    async def hold(*names: str) -> None:
        for _ in range(50):
            async with locks.hold(names):
                await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await asyncio.gather(hold("a", "b", "c"), hold("c", "b", "a"), hold("b", "b"))
    assert len(locks) == 0


async def test_a_cancelled_waiter_releases_its_lock() -> None:
    """A cancelled waiter neither holds nor blocks a name."""
    locks = KeyedLocks()

    async def hold() -> None:
        async with locks.hold(["a"]):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(hold()) for _ in range(3)]
    await asyncio.sleep(0)
    for task in reversed(tasks):
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert len(locks) == 0


def test_a_free_shard_is_preferred() -> None:
    """Each borrower has a shard of its own while there are enough; then they share evenly."""
    shards = AccountShards(3)
    with shards.borrow() as one, shards.borrow() as two, shards.borrow() as three:
        assert {one, two, three} == {0, 1, 2}
        with shards.borrow() as shared, shards.borrow() as also:
            assert shared != also
    with shards.borrow() as again:
        assert again == 0


@pytest.mark.parametrize(("failures", "bound"), [(1, 0.02), (2, 0.04), (5, 0.32), (6, MAX_S)])
def test_delays_double_up_to_a_bound(failures: int, bound: float) -> None:
    """Delays are spread between zero and the bound."""
    delays = [delay_s(failures) for _ in range(500)]
    assert 0 <= min(delays) < bound / 4
    assert bound * 3 / 4 < max(delays) <= bound
    assert delay_s(10**9) <= MAX_S
