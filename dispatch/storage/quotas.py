"""How often somebody may do something, counted over all nodes together."""

from collections.abc import Sequence
from typing import NamedTuple

from redis.asyncio import Redis

from dispatch import keys
from dispatch.storage.pipeline import Bulk, Command
from dispatch.storage.redis_client import Scripts

# Buckets in one trip. Source: measured, packing and reading one takes 10 us of the loop's time.
AT_ONCE = 200


class Taken(NamedTuple):
    """What came of taking one token; `wait_s` is how long until there is one."""

    is_granted: bool
    remaining: int
    wait_s: float


class Spent(NamedTuple):
    """How many tokens of somebody's bucket a node has given away by itself."""

    name: str
    who: str
    per_s: float
    burst: float
    tokens: int


class Quotas:
    """Token buckets in Redis, by the clock of Redis; one that is not used takes no room.

    Errors: every method raises StoreUnavailable where Redis is away.
    """

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._bulk = Bulk(redis, scripts)
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

    async def spend(self, given: Sequence[Spent]) -> list[int]:
        """Take what was given away already; how much each bucket has left, below 0 what it owes.

        Redis: EVALSHA quota_spend each, a round trip for 200 of them. A repeat takes them again.
        """
        left: list[int] = []
        for at in range(0, len(given), AT_ONCE):
            left += await self._bulk.run([self._spend(each) for each in given[at : at + AT_ONCE]])
        return left

    def _spend(self, spent: Spent) -> Command:
        assert spent.tokens > 0, "what was not given is not told"
        sha, key = self._scripts.sha("quota_spend"), keys.quota(spent.name, spent.who)
        apart_us = round(1_000_000 / spent.per_s)
        return ("EVALSHA", sha, 1, key, apart_us, int(spent.burst), spent.tokens)
