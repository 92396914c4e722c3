"""How often somebody may do something, counted over all nodes together."""

from collections.abc import Sequence
from typing import NamedTuple

from redis.asyncio import Redis

from dispatch import keys
from dispatch.storage.pipeline import Command, Pipeline
from dispatch.storage.redis_client import Scripts

# Buckets in one trip. Source: measured, packing and reading one takes 10 us of the loop's time.
BUCKETS_PER_TRIP = 200


class TakeResult(NamedTuple):
    """What came of taking one token; `wait_s` is how long until there is one."""

    is_granted: bool
    remaining: int
    wait_s: float


class SpentTokens(NamedTuple):
    """How many tokens of somebody's bucket a node has given away by itself."""

    name: str
    subject: str
    rate_per_s: float
    burst: float
    tokens: int


class Quotas:
    """Token buckets in Redis, by the clock of Redis; one that is not used takes no room.

    Errors: every method raises StoreUnavailable where Redis is away.
    """

    def __init__(self, redis: Redis, scripts: Scripts) -> None:
        self._pipeline = Pipeline(redis, scripts)
        self._scripts = scripts

    async def take(self, name: str, subject: str, rate_per_s: float, burst: float) -> TakeResult:
        """Take one token of `who` from the bucket of that name.

        Units: tokens a second; tokens that may come at once.
        Redis: one script; atomic. A repeat takes another token.
        """
        assert rate_per_s > 0, "a bucket fills"
        assert burst >= 1, "a bucket holds a token"
        arguments = (round(1_000_000 / rate_per_s), int(burst))
        granted, left, wait_ms = await self._scripts.run(
            "quota_take", (keys.quota(name, subject),), arguments
        )
        return TakeResult(bool(granted), int(left), int(wait_ms) / 1000)

    async def spend(self, spent: Sequence[SpentTokens]) -> list[int]:
        """Take what was given away already; how much each bucket has left, below 0 what it owes.

        Redis: EVALSHA quota_spend each, a round trip for 200 of them. A repeat takes them again.
        """
        left: list[int] = []
        for at in range(0, len(spent), BUCKETS_PER_TRIP):
            left += await self._pipeline.run(
                [self._spend(each) for each in spent[at : at + BUCKETS_PER_TRIP]]
            )
        return left

    def _spend(self, spent: SpentTokens) -> Command:
        assert spent.tokens > 0, "what was not given is not told"
        sha, key = self._scripts.sha("quota_spend"), keys.quota(spent.name, spent.subject)
        apart_us = round(1_000_000 / spent.rate_per_s)
        return ("EVALSHA", sha, 1, key, apart_us, int(spent.burst), spent.tokens)
