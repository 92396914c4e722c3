"""Rate limits: token buckets in this process, some of them shared by all nodes through Redis."""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from dispatch import metrics
from dispatch.accounts.codes import REUSE_MS
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings
from dispatch.storage.quotas import Quotas, SpentTokens

# Burst of a socket's buckets, in seconds of its rate. Source: chosen; phones send in bursts when a
# radio wakes up, and twice the rate absorbs a stall of one second.
BURST_SECONDS = 2
# How long a granted allowance can be used. Source: chosen; a slow radio sends a quarter of an hour
# of fixes, 100 KB, within it.
GRANT_S = 60.0
# Requests over the limit that one connection may send before it is closed, and how fast that
# allowance refills. Source: chosen; the official client sends the buffer of an outage at once, 1 Hz
# fixes of a quarter of an hour; a flood uses the allowance up within milliseconds.
VIOLATIONS_MAX = 1000
VIOLATIONS_PER_S = 10
# Buckets kept for each rate; the least recently used one is discarded first.
BUCKETS_MAX = 20_000

# How long a request waits for Redis, and how long Redis is not asked after it failed to answer.
# Source: `docs/promises.md`, subscribers are back two seconds after Redis is; chosen, a request
# that waits costs its caller more than a limit per node costs the server.
REDIS_WAIT_S_MAX = 0.5
REDIS_RETRY_AFTER_S = 1.0
# How often a node reports the tokens that it granted by itself to the shared buckets.
SYNC_EVERY_S = 1.0


class Rate(NamedTuple):
    """How often one subject may do something, and how often at once.

    `has_local_fallback` says what holds while Redis is away: the node's own bucket, or refusal.
    """

    name: str
    per_s: float
    burst: float
    has_local_fallback: bool = True


_QUARTER_S = 15 * 60
# Connections that one address may open to one node. Source: chosen; a mobile network has thousands
# of phones behind one address, and all of them reconnect when a server restarts; a machine that
# does nothing but connect opens as many within half a minute.
CONNECTION_RATE = Rate("connection", 100, 5_000)
# CONNECTs of one identity. Source: chosen; a bad network loses a socket every few seconds, the
# official client reconnects after one to five seconds, and each of five sockets may do so twelve
# times a minute. Measured: a CONNECT with missed events takes 4 ms, so 180 of them a second took
# half of a core.
JOIN_RATE = Rate("join", 2, 60)
# Sign-ins of one phone from one network. Source: `docs/contract.md`, 5 in 15 minutes. Safe with a
# local fallback: failures are counted in DynamoDB (`dispatch.accounts.attempts`) whatever Redis
# does.
SIGN_IN_RATE = Rate("sign_in", 5 / _QUARTER_S, 5)
# Codes to one phone that one network asks for: three at once, then one in 15 minutes. A code costs
# the operator money: while codes cannot be counted, none is sent. Source: chosen; a text message
# that did not arrive is asked for once or twice.
CODE_RATE = Rate("code", 1 / _QUARTER_S, 3, has_local_fallback=False)
# Codes to one phone that all unknown networks together ask for. In half the life of a code
# (REUSE_MS) one token comes back: where there is none, a code that was sent to the phone is still
# live.
CODE_PHONE_RATE = Rate("code_phone", 1000 / REUSE_MS, 5, has_local_fallback=False)


def _quarter_rate(name: str, per_quarter: int, *, has_local_fallback: bool = True) -> Rate:
    return Rate(name, per_quarter / _QUARTER_S, per_quarter, has_local_fallback)


class TokenBucket:
    """A token bucket that never blocks. Units: tokens, seconds of a monotonic clock."""

    __slots__ = ("_extra", "_extra_until_s", "_level", "_updated_s", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._level = burst
        self._updated_s = 0.0
        self._extra = 0.0
        self._extra_until_s = 0.0

    def grant(self, tokens: float, now_s: float) -> None:
        """Allow `take_granted` so many tokens, for GRANT_S. Units: seconds of a monotonic clock."""
        self._extra, self._extra_until_s = tokens, now_s + GRANT_S

    def take_granted(self, now_s: float) -> bool:
        """Take a granted token. Units: seconds of a monotonic clock."""
        if self._extra < 1 or now_s > self._extra_until_s:
            return False
        self._extra -= 1
        return True

    def take(self, now_s: float, tokens: float = 1.0) -> bool:
        """Take `tokens` if there are as many. Units: seconds of a monotonic clock."""
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
        """Lower the level to `remaining`, which a shared bucket has left.

        Units: seconds of a monotonic clock.
        """
        level = self._level + (now_s - self._updated_s) * self.rate_per_s
        self._updated_s = now_s
        self._level = min(level, remaining, self.burst)

    def wait_s(self, tokens: float = 1.0) -> float:
        """Time from the last `take` until there are `tokens`. Units: seconds."""
        return max(0.0, (tokens - self._level) / self.rate_per_s)


class UnlimitedBucket(TokenBucket):
    """A bucket that is always full, for the setting RATE_LIMITS=off (benches, under --dev)."""

    __slots__ = ()

    def take(self, now_s: float, tokens: float = 1.0) -> bool:
        """Grant without counting."""
        return True


class SharedBuckets:
    """Token buckets in Redis that all nodes share, for HTTP requests and sign-ins.

    A node takes from its own bucket first, so that a flood costs Redis no more than the rate
    allows.
    """

    def __init__(
        self,
        quotas: Quotas,
        clock: Clock,
        *,
        redis_wait_s_max: float = REDIS_WAIT_S_MAX,
        unsynced_max: int = BUCKETS_MAX,
    ) -> None:
        self._quotas = quotas
        self._clock = clock
        self._redis_wait_s_max = redis_wait_s_max
        self._unsynced_max = unsynced_max
        self._retry_at_s = 0.0
        # By rate and subject: tokens granted since the last sync, and the local bucket they came
        # from.
        self._unsynced: dict[tuple[Rate, str], tuple[int, TokenBucket]] = {}

    def record_local(self, rate: Rate, subject: str, local_bucket: TokenBucket) -> None:
        """Note a token that the local bucket granted; `sync` takes it from the shared bucket."""
        granted, _ = self._unsynced.get((rate, subject), (0, local_bucket))
        if granted or len(self._unsynced) < self._unsynced_max:
            self._unsynced[rate, subject] = granted + 1, local_bucket
        else:
            metrics.SHARED_LIMITS_UNAVAILABLE.labels(rate.name).inc()

    async def sync(self) -> None:
        """Take the noted tokens from the shared buckets, and lower the local ones to match.

        A subject that several nodes together granted too much gets nothing until its shared bucket
        is out of debt. While Redis is away the node relies on its own buckets.
        """
        unsynced, self._unsynced = self._unsynced, {}
        spent = [
            SpentTokens(rate.name, subject, rate.per_s, rate.burst, count)
            for (rate, subject), (count, _) in unsynced.items()
        ]
        try:
            left = await self._quotas.spend(spent)
        except StoreUnavailable:
            metrics.SHARED_LIMITS_UNAVAILABLE.labels("sync").inc()
            return
        for (_, local_bucket), remaining in zip(unsynced.values(), left, strict=True):
            local_bucket.lower(self._clock.monotonic_s(), remaining)

    async def take(self, rate: Rate, subject: str, local_bucket: TokenBucket) -> bool:
        """Take from the shared bucket a token that the local bucket has just granted.

        While Redis is away, a rate with a local fallback is granted: N nodes then let N times as
        much through, and no client that keeps to its rate is refused.

        Errors: StoreUnavailable for a rate without local fallback.
        """
        if self._clock.monotonic_s() < self._retry_at_s:
            return self._take_locally(rate, "no answer a moment ago")
        try:
            async with asyncio.timeout(self._redis_wait_s_max):
                taken = await self._quotas.take(rate.name, subject, rate.per_s, rate.burst)
        except (StoreUnavailable, TimeoutError):
            self._retry_at_s = self._clock.monotonic_s() + REDIS_RETRY_AFTER_S
            return self._take_locally(rate, "no answer")
        local_bucket.lower(self._clock.monotonic_s(), taken.remaining)
        return taken.is_granted

    def _take_locally(self, rate: Rate, cause: str) -> bool:
        metrics.SHARED_LIMITS_UNAVAILABLE.labels(rate.name).inc()
        if not rate.has_local_fallback:
            raise StoreUnavailable("redis", cause)
        return True


class RateLimits:
    """All rate limits of one process; none are applied with RATE_LIMITS=off.

    Source: `docs/contract.md`, limits.
    """

    def __init__(
        self,
        settings: Settings,
        shared: SharedBuckets | None = None,
        *,
        sync_every_s: float = SYNC_EVERY_S,
    ) -> None:
        is_on = settings.rate_limits == "on"
        self._bucket_type = TokenBucket if is_on else UnlimitedBucket
        self._shared = shared if is_on else None
        self._sync_every_s = sync_every_s
        self._commands_per_s = settings.commands_per_s
        self._fixes_per_s = settings.fixes_per_s
        self.http_per_min = settings.http_requests_per_min
        # Limits of a machine that tries five passwords, or asks for codes, of each of many phones.
        self.sign_in_address_rate = _quarter_rate(
            "sign_in_address", settings.sign_ins_per_address_15min
        )
        self.code_address_rate = _quarter_rate(
            "code_address", settings.codes_per_address_15min, has_local_fallback=False
        )
        self.http_rate = Rate("http", self.http_per_min / 60, self.http_per_min)
        # By rate name, then by subject.
        self._buckets: dict[str, OrderedDict[str, TokenBucket]] = {}

    def command_bucket(self) -> TokenBucket:
        """A new socket's bucket for commands other than fixes."""
        return self._bucket_type(self._commands_per_s, self._commands_per_s * BURST_SECONDS)

    def fix_bucket(self) -> TokenBucket:
        """A new socket's bucket for fixes."""
        return self._bucket_type(self._fixes_per_s, self._fixes_per_s * BURST_SECONDS)

    def violation_budget(self) -> TokenBucket:
        """A new connection's allowance for requests over a limit; when empty, it is closed."""
        return self._bucket_type(VIOLATIONS_PER_S, VIOLATIONS_MAX)

    async def take(self, rate: Rate, subject: str, now_s: float) -> bool:
        """Take a token of `subject` from its local bucket and from the one all nodes share.

        Units: seconds of a monotonic clock.
        Errors: StoreUnavailable for a rate without local fallback while Redis is away.
        """
        local_bucket = self.bucket(rate, subject)
        if not local_bucket.take(now_s):
            return False
        return self._shared is None or await self._shared.take(rate, subject, local_bucket)

    def take_or_wait_s(self, rate: Rate, subject: str, now_s: float) -> float:
        """Take a token of `subject` from its local bucket; 0, or the time until there is one.

        Does not wait for Redis: the shared bucket is updated within a second.

        Units: seconds; `now_s` of a monotonic clock.
        """
        local_bucket = self.bucket(rate, subject)
        if not local_bucket.take(now_s):
            return local_bucket.wait_s()
        if self._shared is not None:
            self._shared.record_local(rate, subject, local_bucket)
        return 0.0

    async def run(self) -> None:
        """Sync the shared buckets once a second; to be supervised. Ends at once without them."""
        while self._shared is not None:
            await asyncio.sleep(self._sync_every_s)
            await self._shared.sync()

    def bucket(self, rate: Rate, subject: str) -> TokenBucket:
        """The local bucket of one subject for one rate."""
        buckets = self._buckets.setdefault(rate.name, OrderedDict())
        bucket = buckets.get(subject)
        if bucket is None:
            bucket = buckets[subject] = self._bucket_type(rate.per_s, rate.burst)
            if len(buckets) > BUCKETS_MAX:
                buckets.popitem(last=False)
        else:
            buckets.move_to_end(subject)
        return bucket
