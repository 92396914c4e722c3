"""Turn-taking inside one process: accounts by name, and lanes of our own accounts.

Both only spare DynamoDB conflicts; what is right is decided by its conditions alone.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager


class Locks:
    """One lock a name, kept only while somebody wants it."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._wanted: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, names: Iterable[str]) -> AsyncIterator[None]:
        """Hold every name, taken in one order so that nobody waits in a ring."""
        async with AsyncExitStack() as stack:
            for name in sorted(set(names)):
                await stack.enter_async_context(self._one(name))
            yield

    def __len__(self) -> int:
        return len(self._locks)

    @asynccontextmanager
    async def _one(self, name: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(name, asyncio.Lock())
        self._wanted[name] = self._wanted.get(name, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._wanted[name] -= 1
            if not self._wanted[name]:
                del self._wanted[name], self._locks[name]


class Lanes:
    """Which lane to post to: a free one, or the least used where none is.

    Processes that begin at different lanes do not meet in them.
    """

    def __init__(self, count: int, first: int = 0) -> None:
        assert count > 0
        self._users = [0] * count
        self._first = first

    @contextmanager
    def borrow(self) -> Iterator[int]:
        """A lane for the time of one entry."""
        lane = min(range(len(self._users)), key=self._users.__getitem__)
        self._users[lane] += 1
        try:
            yield self._first + lane
        finally:
            self._users[lane] -= 1
