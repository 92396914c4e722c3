"""How much one client may ask: token buckets here, and for some things over all nodes together."""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings
from dispatch.storage.quotas import Quotas, SpentTokens

# A second's worth may come at once twice: phones send in bursts when a radio wakes up.
# Source: wire contract names the rates only; twice the rate absorbs a one-second stall.
BURST_SECONDS = 2
# Requests over the limit that one connection may still make before it is cut, and how fast that
# patience grows again. Source: the official client empties a buffer of an outage at once, some 1 Hz
# fixes for a quarter of an hour; a flood reaches it within milliseconds.
VIOLATIONS_MAX = 1000
VIOLATIONS_PER_S = 10
# Those whose bucket for something is kept; the one that asked longest ago goes first.
BUCKETS_MAX = 20_000

# How long a request waits for the word of Redis, and how long Redis is left alone after it had
# none. Source: promises, whoever listens is back two seconds after Redis is; a request that waits
# costs its caller more than a node's own limit costs us.
REDIS_WAIT_S_MAX = 0.5
REDIS_RETRY_AFTER_S = 1.0
# What nodes have given away by themselves they tell one another so often.
SYNC_EVERY_S = 1.0


class Rate(NamedTuple):
    """How often somebody may do something, and how often at once.

    `keeps_alone` says what holds where Redis is away: the node's own bucket, or nobody may.
    """

    name: str
    per_s: float
    burst: float
    has_local_fallback: bool = True


_QUARTER_S = 15 * 60
# Connections one address may begin at one node. Source: a mobile network hides thousands of phones
# behind one address, and all of them come back when a server restarts; a machine that only connects
# begins as many in half a minute.
CONNECTION_RATE = Rate("connection", 100, 5_000)
# Times one identity may join. Source: a bad network loses a socket every few seconds, the official
# client comes back after one to five, and each of five sockets may do so twelve times. Whoever
# joins is brought what he missed, 4 ms of work: 180 of them a second took half of a core.
JOIN_RATE = Rate("join", 2, 60)
# Source: wire contract, sign-in 5 per 15 minutes, for each account. A node may keep it alone: five
# failures lock the account in DynamoDB, whatever Redis does.
SIGN_IN_RATE = Rate("sign_in", 5 / _QUARTER_S, 5)
# Many phones have one address; a machine that tries each account five times has one too.
SIGN_IN_ADDRESS_RATE = Rate("sign_in_from", 100 / _QUARTER_S, 100)
# A code costs money and is five guesses: where they cannot be counted none is sent.
CODE_RATE = Rate("code", 3 / _QUARTER_S, 3, has_local_fallback=False)
CODE_ADDRESS_RATE = Rate("code_from", 30 / _QUARTER_S, 30, has_local_fallback=False)


class TokenBucket:
    """A token bucket that never blocks. Units: tokens, seconds of a steady clock."""

    __slots__ = ("_level", "_updated_s", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._level = burst
        self._updated_s = 0.0

    def take(self, now_s: float, tokens: float = 1.0) -> bool:
        """Take `tokens` if they are there."""
        level = self._level + (now_s - self._updated_s) * self.rate_per_s
        self._updated_s = now_s
        # A call of `min` would take a fifth of this function's time.
        if level > self.burst:  # noqa: PLR1730
            level = self.burst
        if level < tokens:
            self._level = level
            return False
        self._level = level - tokens
        return True

    @property
    def remaining(self) -> int:
        """Whole tokens left after the last `take`."""
        return int(self._level)

    def lower(self, now_s: float, remaining: int) -> None:
        """Hold no more than that: others have taken from what this one is a part of."""
        level = self._level + (now_s - self._updated_s) * self.rate_per_s
        self._updated_s = now_s
        self._level = min(level, remaining, self.burst)

    def wait_s(self, tokens: float = 1.0) -> float:
        """How long after the last `take` until `tokens` are there."""
        return max(0.0, (tokens - self._level) / self.rate_per_s)


class UnlimitedBucket(TokenBucket):
    """A bucket that is always full; for benches."""

    __slots__ = ()

    def take(self, now_s: float, tokens: float = 1.0) -> bool:
        """Always."""
        return True


class SharedBuckets:
    """Buckets that all nodes take from, for what is dear: a request over HTTP, a try to sign in.

    A node's own bucket is asked first, so that a flood costs Redis no more than the rate allows.
    """

    def __init__(self, quotas: Quotas, clock: Clock) -> None:
        self._quotas = quotas
        self._clock = clock
        self._retry_at_s = 0.0
        # By rate and whose: how many were given away since the last time, and out of which bucket.
        self._unsynced: dict[tuple[Rate, str], tuple[int, TokenBucket]] = {}

    def record_local(self, rate: Rate, subject: str, local_bucket: TokenBucket) -> None:
        """A node has given a token away by itself; `settle` tells the others."""
        given, _ = self._unsynced.get((rate, subject), (0, local_bucket))
        if given or len(self._unsynced) < BUCKETS_MAX:
            self._unsynced[rate, subject] = given + 1, local_bucket
        else:
            metrics.SHARED_LIMITS_UNAVAILABLE.labels(rate.name).inc()

    async def sync(self) -> None:
        """Take what was given away from the buckets of all nodes; an own one holds no more.

        Whoever got more than all nodes together may give gets nothing until that is made up for.
        Where Redis is away a node goes on by itself.
        """
        given, self._unsynced = self._unsynced, {}
        spent = [
            SpentTokens(rate.name, who, rate.per_s, rate.burst, count)
            for (rate, who), (count, _) in given.items()
        ]
        try:
            left = await self._quotas.spend(spent)
        except StoreUnavailable:
            metrics.SHARED_LIMITS_UNAVAILABLE.labels("settle").inc()
            return
        for (_, own), remaining in zip(given.values(), left, strict=True):
            own.lower(self._clock.monotonic_s(), remaining)

    async def take(self, rate: Rate, subject: str, local_bucket: TokenBucket) -> bool:
        """Take a token that the node's own bucket has given from that of all nodes too.

        Where Redis is away a rate that a node may keep alone is granted: N nodes then let N times
        as much through, and nobody who keeps to it is turned away.

        Errors: StoreUnavailable for the other rates.
        """
        if self._clock.monotonic_s() < self._retry_at_s:
            return self._take_locally(rate, "it did not answer a moment ago")
        try:
            async with asyncio.timeout(REDIS_WAIT_S_MAX):
                taken = await self._quotas.take(rate.name, subject, rate.per_s, rate.burst)
        except (StoreUnavailable, TimeoutError):
            self._retry_at_s = self._clock.monotonic_s() + REDIS_RETRY_AFTER_S
            return self._take_locally(rate, "it does not answer")
        local_bucket.lower(self._clock.monotonic_s(), taken.remaining)
        return taken.is_granted

    def _take_locally(self, rate: Rate, cause: str) -> bool:
        metrics.SHARED_LIMITS_UNAVAILABLE.labels(rate.name).inc()
        if not rate.has_local_fallback:
            raise StoreUnavailable("redis", cause)
        return True


class RateLimits:
    """The limits of the contract, or none at all where the settings say so."""

    def __init__(self, settings: Settings, shared: SharedBuckets | None = None) -> None:
        is_on = settings.rate_limits == "on"
        self._bucket_type = TokenBucket if is_on else UnlimitedBucket
        self._shared = shared if is_on else None
        self._commands_per_s = settings.commands_per_s
        self._fixes_per_s = settings.fixes_per_s
        self.http_per_min = settings.http_requests_per_min
        self.http_rate = Rate("http", self.http_per_min / 60, self.http_per_min)
        # By the rate's name, then by whose they are.
        self._buckets: dict[str, OrderedDict[str, TokenBucket]] = {}

    def command_bucket(self) -> TokenBucket:
        """A new socket's bucket for commands."""
        return self._bucket_type(self._commands_per_s, self._commands_per_s * BURST_SECONDS)

    def fix_bucket(self) -> TokenBucket:
        """A new socket's bucket for fixes."""
        return self._bucket_type(self._fixes_per_s, self._fixes_per_s * BURST_SECONDS)

    def violation_budget(self) -> TokenBucket:
        """A new connection's bucket for requests over the other limits; empty means cut."""
        return self._bucket_type(VIOLATIONS_PER_S, VIOLATIONS_MAX)

    async def take(self, rate: Rate, subject: str, now_s: float) -> bool:
        """Take one from somebody's bucket here, and from that of all nodes together.

        Errors: StoreUnavailable for a rate that no node keeps alone, where Redis is away.
        """
        own = self.bucket(rate, subject)
        if not own.take(now_s):
            return False
        return self._shared is None or await self._shared.take(rate, subject, own)

    def take_or_wait_s(self, rate: Rate, subject: str, now_s: float) -> float:
        """Take one from somebody's bucket at this node; the seconds until there is one, or 0.

        Nobody is waited for: the bucket of all nodes is told within a second.
        """
        own = self.bucket(rate, subject)
        if not own.take(now_s):
            return own.wait_s()
        if self._shared is not None:
            self._shared.record_local(rate, subject, own)
        return 0.0

    async def run(self) -> None:
        """Tell all nodes what this one gives away; to be supervised."""
        while self._shared is not None:
            await asyncio.sleep(SYNC_EVERY_S)
            await self._shared.sync()

    def bucket(self, rate: Rate, subject: str) -> TokenBucket:
        """Somebody's bucket at this node."""
        kept = self._buckets.setdefault(rate.name, OrderedDict())
        bucket = kept.get(subject)
        if bucket is None:
            bucket = kept[subject] = self._bucket_type(rate.per_s, rate.burst)
            if len(kept) > BUCKETS_MAX:
                kept.popitem(last=False)
        else:
            kept.move_to_end(subject)
        return bucket
