"""Takes the machine's time and randomness away from the program, so that a run can be repeated."""

import random
import secrets
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import uuid_utils

import concurrency.backoff
import handlers.transport.graceful_shutdown
from tests.virtual_time import VirtualClock


class _SeededIds:
    """Ids that sort by virtual time, as UUID version 7 does by the machine's."""

    def __init__(self, seed: int, clock: VirtualClock) -> None:
        self._rng = random.Random(f"ids/{seed}")
        self._clock = clock
        self._count = 0

    def uuid7(self) -> uuid.UUID:
        """Source: RFC 9562 section 5.7, with a counter in `rand_a` and above `rand_b`."""
        self._count += 1
        number = self._clock.now_ms() << 80 | 0x7 << 76 | 0b10 << 62
        number |= (self._count >> 16 & 0xFFF) << 64 | (self._count & 0xFFFF) << 46
        return uuid.UUID(int=number | self._rng.getrandbits(46))

    def token_bytes(self, size: int = 32) -> bytes:
        """As `secrets.token_bytes`."""
        return self._rng.randbytes(size)

    def token_urlsafe(self, size: int = 32) -> str:
        """As `secrets.token_urlsafe`, shorter."""
        return self._rng.randbytes(size * 3 // 4).hex()[:size]

    def randbelow(self, bound: int) -> int:
        """As `secrets.randbelow`."""
        return self._rng.randrange(bound)


class _SeededRandomModule:
    """Stands for the module `random` where somebody makes an unseeded generator."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def Random(self) -> random.Random:  # noqa: N802 (the module's own name)
        """A generator that always says the same."""
        return random.Random(f"seeded/{self._seed}")


@contextmanager
def deterministic(seed: int, clock: VirtualClock) -> Iterator[None]:
    """Every time and every chance inside comes from the virtual clock and the seed."""
    ids, before = _SeededIds(seed, clock), random.getstate()
    random.seed(f"module/{seed}")

    def now_s() -> float:
        return clock.now_ms() / 1000

    def now_ns() -> int:
        return clock.now_ms() * 1_000_000

    patches = [
        mock.patch.object(time, "time", now_s),
        mock.patch.object(time, "time_ns", now_ns),
        mock.patch.object(uuid_utils, "uuid7", ids.uuid7),
        mock.patch.object(secrets, "token_bytes", ids.token_bytes),
        mock.patch.object(secrets, "token_urlsafe", ids.token_urlsafe),
        mock.patch.object(secrets, "randbelow", ids.randbelow),
        mock.patch.object(concurrency.backoff, "_random", random.Random(f"backoff/{seed}")),
        mock.patch.object(
            handlers.transport.graceful_shutdown, "random", _SeededRandomModule(seed)
        ),
    ]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in reversed(patches):
            patch.stop()
        random.setstate(before)
