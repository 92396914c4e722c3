"""Exponential backoff with full jitter, for retries after conflicts."""

import random
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# Source: "Exponential Backoff and Jitter", AWS Architecture Blog, 2015: full jitter.
BASE_S = 0.02
MAX_S = 0.5
# The bound reaches its maximum at the sixth failure; a larger exponent would only grow.
DOUBLINGS_MAX = 10

# Jitter needs no secrecy, but must differ between processes. One generator serves all contexts.
_random: ContextVar[random.Random] = ContextVar("jitter", default=secrets.SystemRandom())  # noqa: B039


def delay_s(failures: int) -> float:
    """A random delay below a bound that doubles with each failure in a row. Units: seconds.

    `failures` counts the failures so far, at least one.
    """
    assert failures > 0
    bound_s = min(BASE_S * 2 ** min(failures - 1, DOUBLINGS_MAX), MAX_S)
    return _random.get().uniform(0, bound_s)


@contextmanager
def jitter_from(rng: random.Random) -> Iterator[None]:
    """Draw the jitter from a seeded generator inside the block, so that a run can be repeated."""
    token = _random.set(rng)
    try:
        yield
    finally:
        _random.reset(token)
