"""How often somebody may do something, counted over all nodes together."""

from typing import NamedTuple

from dispatch import keys
from dispatch.store.connect import Scripts


class Taken(NamedTuple):
    """What came of taking one token; `wait_s` is how long until there is one."""

    is_granted: bool
    remaining: int
    wait_s: float


class Quotas:
    """Token buckets in Redis, by the clock of Redis; one that is not used takes no room.

    Errors: every method raises StoreUnavailable where Redis is away.
    """

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    async def take(self, name: str, who: str, rate_per_s: float, burst: float) -> Taken:
        """Take one token of `who` from the bucket of that name.

        Units: tokens a second; tokens that may come at once.
        Redis: one script; atomic. A repeat takes another token.
        """
        assert rate_per_s > 0, "a bucket fills"
        assert burst >= 1, "a bucket holds a token"
        arguments = (round(1_000_000 / rate_per_s), int(burst))
        granted, left, wait_ms = await self._scripts.run(
            "quota_take", (keys.quota(name, who),), arguments
        )
        return Taken(bool(granted), int(left), int(wait_ms) / 1000)
