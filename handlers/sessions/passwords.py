"""Password hashing with Argon2id, in a thread beside the event loop."""

import asyncio
import base64
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from dispatch.errors import Refusal, Refused

# Source: OWASP Password Storage Cheat Sheet, the minimum for Argon2id: 19 MiB, two iterations, one
# lane; measured 25 ms on one core.
MEMORY_KIB, TIME_COST, PARALLELISM = 19 * 1024, 2, 1
# Hashes computed at the same time, and requests waiting for one. Source: chosen; the other cores
# stay free for signed-in clients, and the last of 40 waits about a second.
THREADS = 1
WAITING_MAX = 40

_T = TypeVar("_T")


def _dummy_hash() -> str:
    """A hash that no password matches; verifying it costs as much as a real one."""
    salt, digest = (base64.b64encode(bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={MEMORY_KIB},t={TIME_COST},p={PARALLELISM}${salt}${digest}"


class Passwords:
    """Hashes and verifies passwords; refuses more work while too many requests wait."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(
            time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=PARALLELISM
        )
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._waiting = 0
        self._dummy_hash = _dummy_hash()

    async def hash(self, password: str) -> str:
        """Hash a password for storage.

        Shapes: a PHC string, `$argon2id$…`. Errors: Refused UNAVAILABLE if too many wait.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def matches(self, stored_hash: str | None, password: str) -> bool:
        """Tell whether the password matches; without a stored hash False, after the same work.

        Errors: Refused UNAVAILABLE if too many wait.
        """
        is_equal = await self._run(
            lambda: self._is_equal(stored_hash or self._dummy_hash, password)
        )
        return is_equal and stored_hash is not None

    def _is_equal(self, stored_hash: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored_hash, password)
        except (VerifyMismatchError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], _T]) -> _T:
        if self._waiting >= WAITING_MAX:
            raise Refused(Refusal.UNAVAILABLE, "too many sign-ins at this moment")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1
