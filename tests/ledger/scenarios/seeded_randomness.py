"""Makes the house draw its randomness from a seed: delays between attempts, and new ids."""

import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uuid_utils

from concurrency import backoff


@contextmanager
def seed_randomness(seed: int) -> Iterator[random.Random]:
    """For a while, the same seed makes the same delays and ids."""
    chance = random.Random(seed)
    count = 0

    def ordered_id() -> uuid.UUID:
        # As of version 7: later ones sort later.
        nonlocal count
        count += 1
        return uuid.UUID(int=(count << 64) | chance.getrandbits(64))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backoff, "_random", chance)
        patch.setattr(uuid_utils, "uuid7", ordered_id)
        yield chance
