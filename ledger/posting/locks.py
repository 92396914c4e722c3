"""Locks inside one process: accounts by name, and shards of the platform's accounts.

They only avoid conflicts in DynamoDB; correctness rests on its conditions alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager


class KeyedLocks:
    """Named locks, each kept only while it is held or waited for."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiter_counts: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, names: Iterable[str]) -> AsyncGenerator[None, None]:
        """Hold every name, acquired in sorted order to avoid deadlock."""
        async with AsyncExitStack() as stack:
            for name in sorted(set(names)):
                await stack.enter_async_context(self._hold_one(name))
            yield

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def _hold_one(self, name: str) -> AsyncGenerator[None, None]:
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._waiter_counts[name] = self._waiter_counts.get(name, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiter_counts[name] -= 1
            if not self._waiter_counts[name]:
                del self._waiter_counts[name], self._locks[name]


class AccountShards:
    """Chooses the account shard to post to: a free one, or the least used if none is free.

    Processes with different first shards use different shards.
    """

    def __init__(self, count: int, first_shard: int = 0) -> None:
        assert count > 0
        self._use_counts = [0] * count
        self._first_shard = first_shard

    @contextmanager
    def borrow(self) -> Generator[int, None, None]:
        """A shard for the time of one entry."""
        shard = min(range(len(self._use_counts)), key=self._use_counts.__getitem__)
        self._use_counts[shard] += 1
        try:
            yield self._first_shard + shard
        finally:
            self._use_counts[shard] -= 1
