"""Seeded randomness: delays between attempts and new ids are drawn from a seed."""

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uuid_utils

from concurrency.backoff import jitter_from


@contextmanager
def seed_randomness(seed: int) -> Iterator[random.Random]:
    """Within this context the same seed gives the same delays and ids."""
    rng = random.Random(seed)
    count = 0

    def ordered_id() -> uuid.UUID:
        # Like version 7: later ids sort later.
        nonlocal count
        count += 1
        return uuid.UUID(int=(count << 64) | rng.getrandbits(64))

    with pytest.MonkeyPatch.context() as patch, jitter_from(rng):
        patch.setattr(uuid_utils, "uuid7", ordered_id)
        yield rng
