"""Turn-taking inside one process: accounts by name, and lanes of our own accounts.

Both only spare DynamoDB conflicts; what is right is decided by its conditions alone.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager


class KeyedLocks:
    """One lock a name, kept only while somebody wants it."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._waiter_counts: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Hold every name, taken in one order so that nobody waits in a ring."""
        async with AsyncExitStack() as stack:
            for name in sorted(set(names)):
                await stack.enter_async_context(self._hold_one(name))
            yield

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def _hold_one(self, name: str) -> AsyncIterator[None]:
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
    """Which lane to post to: a free one, or the least used where none is.

    Processes that begin at different lanes do not meet in them.
    """

    def __init__(self, count: int, first_shard: int = 0) -> None:
        assert count > 0
        self._use_counts = [0] * count
        self._first_shard = first_shard

    @contextmanager
    def borrow(self) -> Iterator[int]:
        """A lane for the time of one entry."""
        lane = min(range(len(self._use_counts)), key=self._use_counts.__getitem__)
        self._use_counts[lane] += 1
        try:
            yield self._first_shard + lane
        finally:
            self._use_counts[lane] -= 1
