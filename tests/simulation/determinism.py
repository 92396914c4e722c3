"""Replaces time and randomness in a run by a virtual clock and seeded generators."""

import random
import secrets
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import uuid_utils

import handlers.transport.graceful_shutdown
from concurrency.backoff import jitter_from
from tests.virtual_time import VirtualClock


class _SeededIds:
    """Seeded replacements for uuid7 and `secrets`; the ids sort by virtual time."""

    def __init__(self, seed: int, clock: VirtualClock) -> None:
        self._rng = random.Random(f"ids/{seed}")
        self._clock = clock
        self._count = 0

    def uuid7(self) -> uuid.UUID:
        """A UUIDv7 with a counter in `rand_a` and above `rand_b`. Source: RFC 9562 section 5.7."""
        self._count += 1
        number = self._clock.now_ms() << 80 | 0x7 << 76 | 0b10 << 62
        number |= (self._count >> 16 & 0xFFF) << 64 | (self._count & 0xFFFF) << 46
        return uuid.UUID(int=number | self._rng.getrandbits(46))

    def token_bytes(self, size: int = 32) -> bytes:
        """Replaces `secrets.token_bytes`."""
        return self._rng.randbytes(size)

    def token_urlsafe(self, size: int = 32) -> str:
        """Replaces `secrets.token_urlsafe`, with hexadecimal digits."""
        return self._rng.randbytes(size * 3 // 4).hex()[:size]

    def randbelow(self, bound: int) -> int:
        """Replaces `secrets.randbelow`."""
        return self._rng.randrange(bound)


class _SeededRandomModule:
    """Replaces the module `random` where the product makes an unseeded generator."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def Random(self) -> random.Random:  # noqa: N802 (the module's own name)
        """A generator with the run's seed."""
        return random.Random(f"seeded/{self._seed}")


@contextmanager
def deterministic(seed: int, clock: VirtualClock) -> Iterator[None]:
    """Inside the block all time comes from the virtual clock and all randomness from the seed."""
    ids, before = _SeededIds(seed, clock), random.getstate()
    random.seed(f"module/{seed}")

    def now_s() -> float:
        return clock.now_ms() / 1000

    def now_ns() -> int:
        return clock.now_ms() * 1_000_000

    shutdown_random = _SeededRandomModule(seed)
    with ExitStack() as stack:
        stack.callback(random.setstate, before)
        for patch in (
            mock.patch.object(time, "time", now_s),
            mock.patch.object(time, "time_ns", now_ns),
            mock.patch.object(uuid_utils, "uuid7", ids.uuid7),
            mock.patch.object(secrets, "token_bytes", ids.token_bytes),
            mock.patch.object(secrets, "token_urlsafe", ids.token_urlsafe),
            mock.patch.object(secrets, "randbelow", ids.randbelow),
            mock.patch.object(handlers.transport.graceful_shutdown, "random", shutdown_random),
            jitter_from(random.Random(f"backoff/{seed}")),
        ):
            stack.enter_context(patch)
        yield
