"""How much one client may ask: token buckets here, and for some things over all nodes together."""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.settings import Settings
from dispatch.storage.quotas import Quotas, Spent

# A second's worth may come at once twice: phones send in bursts when a radio wakes up.
# Source: wire contract names the rates only; twice the rate absorbs a one-second stall.
BURST_SECONDS = 2
# Requests over the limit that one connection may still make before it is cut, and how fast that
# patience grows again. Source: the official client empties a buffer of an outage at once, some 1 Hz
# fixes for a quarter of an hour; a flood reaches it within milliseconds.
PATIENCE = 1000
PATIENCE_PER_S = 10
# Those whose bucket for something is kept; the one that asked longest ago goes first.
KEPT_MAX = 20_000

# How long a request waits for the word of Redis, and how long Redis is left alone after it had
# none. Source: promises, whoever listens is back two seconds after Redis is; a request that waits
# costs its caller more than a node's own limit costs us.
ASK_S_MAX = 0.5
ASK_AGAIN_S = 1.0
# What nodes have given away by themselves they tell one another so often.
SETTLE_EVERY_S = 1.0


class Rate(NamedTuple):
    """How often somebody may do something, and how often at once.

    `keeps_alone` says what holds where Redis is away: the node's own bucket, or nobody may.
    """

    name: str
    per_s: float
    burst: float
    keeps_alone: bool = True


_QUARTER_S = 15 * 60
# Connections one address may begin at one node. Source: a mobile network hides thousands of phones
# behind one address, and all of them come back when a server restarts; a machine that only connects
# begins as many in half a minute.
CONNECTIONS = Rate("connection", 100, 5_000)
# Times one identity may join. Source: a bad network loses a socket every few seconds, the official
# client comes back after one to five, and each of five sockets may do so twelve times. Whoever
# joins is brought what he missed, 4 ms of work: 180 of them a second took half of a core.
JOINS = Rate("join", 2, 60)
# Source: wire contract, sign-in 5 per 15 minutes, for each account. A node may keep it alone: five
# failures lock the account in DynamoDB, whatever Redis does.
SIGN_INS = Rate("sign_in", 5 / _QUARTER_S, 5)
# Many phones have one address; a machine that tries each account five times has one too.
SIGN_INS_FROM = Rate("sign_in_from", 100 / _QUARTER_S, 100)
# A code costs money and is five guesses: where they cannot be counted none is sent.
CODES = Rate("code", 3 / _QUARTER_S, 3, keeps_alone=False)
CODES_FROM = Rate("code_from", 30 / _QUARTER_S, 30, keeps_alone=False)


class Bucket:
    """A token bucket that never blocks. Units: tokens, seconds of a steady clock."""

    __slots__ = ("_at_s", "_level", "burst", "rate_per_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self._level = burst
        self._at_s = 0.0

    def take(self, now_s: float, tokens: float = 1.0) -> bool:
        """Take `tokens` if they are there."""
        level = self._level + (now_s - self._at_s) * self.rate_per_s
        self._at_s = now_s
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
        level = self._level + (now_s - self._at_s) * self.rate_per_s
        self._at_s = now_s
        self._level = min(level, remaining, self.burst)

    def wait_s(self, tokens: float = 1.0) -> float:
        """How long after the last `take` until `tokens` are there."""
        return max(0.0, (tokens - self._level) / self.rate_per_s)


class Unlimited(Bucket):
    """A bucket that is always full; for benches."""

    __slots__ = ()

    def take(self, now_s: float, tokens: float = 1.0) -> bool:
        """Always."""
        return True


class Shared:
    """Buckets that all nodes take from, for what is dear: a request over HTTP, a try to sign in.

    A node's own bucket is asked first, so that a flood costs Redis no more than the rate allows.
    """

    def __init__(self, quotas: Quotas, clock: Clock) -> None:
        self._quotas = quotas
        self._clock = clock
        self._silent_until_s = 0.0
        # By rate and whose: how many were given away since the last time, and out of which bucket.
        self._given: dict[tuple[Rate, str], tuple[int, Bucket]] = {}

    def note(self, rate: Rate, who: str, own: Bucket) -> None:
        """A node has given a token away by itself; `settle` tells the others."""
        given, _ = self._given.get((rate, who), (0, own))
        if given or len(self._given) < KEPT_MAX:
            self._given[rate, who] = given + 1, own
        else:
            metrics.LIMITS_ALONE.labels(rate.name).inc()

    async def settle(self) -> None:
        """Take what was given away from the buckets of all nodes; an own one holds no more.

        Whoever got more than all nodes together may give gets nothing until that is made up for.
        Where Redis is away a node goes on by itself.
        """
        given, self._given = self._given, {}
        spent = [
            Spent(rate.name, who, rate.per_s, rate.burst, count)
            for (rate, who), (count, _) in given.items()
        ]
        try:
            left = await self._quotas.spend(spent)
        except StoreUnavailable:
            metrics.LIMITS_ALONE.labels("settle").inc()
            return
        for (_, own), remaining in zip(given.values(), left, strict=True):
            own.lower(self._clock.monotonic_s(), remaining)

    async def take(self, rate: Rate, who: str, own: Bucket) -> bool:
        """Take a token that the node's own bucket has given from that of all nodes too.

        Where Redis is away a rate that a node may keep alone is granted: N nodes then let N times
        as much through, and nobody who keeps to it is turned away.

        Errors: StoreUnavailable for the other rates.
        """
        if self._clock.monotonic_s() < self._silent_until_s:
            return self._alone(rate, "it did not answer a moment ago")
        try:
            async with asyncio.timeout(ASK_S_MAX):
                taken = await self._quotas.take(rate.name, who, rate.per_s, rate.burst)
        except (StoreUnavailable, TimeoutError):
            self._silent_until_s = self._clock.monotonic_s() + ASK_AGAIN_S
            return self._alone(rate, "it does not answer")
        own.lower(self._clock.monotonic_s(), taken.remaining)
        return taken.is_granted

    def _alone(self, rate: Rate, cause: str) -> bool:
        metrics.LIMITS_ALONE.labels(rate.name).inc()
        if not rate.keeps_alone:
            raise StoreUnavailable("redis", cause)
        return True


class Limits:
    """The limits of the contract, or none at all where the settings say so."""

    def __init__(self, settings: Settings, shared: Shared | None = None) -> None:
        is_on = settings.rate_limits == "on"
        self._kind = Bucket if is_on else Unlimited
        self._shared = shared if is_on else None
        self._commands_per_s = settings.commands_per_s
        self._fixes_per_s = settings.fixes_per_s
        self.http_per_min = settings.http_requests_per_min
        self.http_rate = Rate("http", self.http_per_min / 60, self.http_per_min)
        # By the rate's name, then by whose they are.
        self._kept: dict[str, OrderedDict[str, Bucket]] = {}

    def commands(self) -> Bucket:
        """A new socket's bucket for commands."""
        return self._kind(self._commands_per_s, self._commands_per_s * BURST_SECONDS)

    def fixes(self) -> Bucket:
        """A new socket's bucket for fixes."""
        return self._kind(self._fixes_per_s, self._fixes_per_s * BURST_SECONDS)

    def patience(self) -> Bucket:
        """A new connection's bucket for requests over the other limits; empty means cut."""
        return self._kind(PATIENCE_PER_S, PATIENCE)

    async def take(self, rate: Rate, who: str, now_s: float) -> bool:
        """Take one from somebody's bucket here, and from that of all nodes together.

        Errors: StoreUnavailable for a rate that no node keeps alone, where Redis is away.
        """
        own = self.bucket(rate, who)
        if not own.take(now_s):
            return False
        return self._shared is None or await self._shared.take(rate, who, own)

    def wait_s(self, rate: Rate, who: str, now_s: float) -> float:
        """Take one from somebody's bucket at this node; the seconds until there is one, or 0.

        Nobody is waited for: the bucket of all nodes is told within a second.
        """
        own = self.bucket(rate, who)
        if not own.take(now_s):
            return own.wait_s()
        if self._shared is not None:
            self._shared.note(rate, who, own)
        return 0.0

    async def watch(self) -> None:
        """Tell all nodes what this one gives away; to be supervised."""
        while self._shared is not None:
            await asyncio.sleep(SETTLE_EVERY_S)
            await self._shared.settle()

    def bucket(self, rate: Rate, who: str) -> Bucket:
        """Somebody's bucket at this node."""
        kept = self._kept.setdefault(rate.name, OrderedDict())
        bucket = kept.get(who)
        if bucket is None:
            bucket = kept[who] = self._kind(rate.per_s, rate.burst)
            if len(kept) > KEPT_MAX:
                kept.popitem(last=False)
        else:
            kept.move_to_end(who)
        return bucket
