"""What is counted and slowly forgotten: riders' answers to offers, vendors' times to get ready."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from concurrency.wakeup import Bell
from dispatch import keys, metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.model import Order
from dispatch.model import OrderStatus as S
from dispatch.storage.redis_client import RedisClients, Scripts, translate
from matching.acceptance import FADE
from matching.prep_times import DAY, MEMORY_ORDERS, Tally, observed
from matching.speeds import hour_of

MINUTE_MS = 60_000
# A rider or vendor of whom nothing was heard for a month is a new one.
TTL_S = 30 * 24 * 3600
# As many answers as weigh together what the fading of each leaves: 1 + 0.98 + 0.98^2 + ...
MEMORY_ANSWERS = 1 / (1 - FADE)
# Above this the oldest is dropped and counted: an estimate is poorer by one order.
WAITING_MAX = 10_000
# A store that is away is asked again after this long.
AWAY_S = 0.5
# What a reader knows is at most so old.
CACHE_S = 10.0


class _News(NamedTuple):
    """One observation: to which field of which key, how much, and how much may be kept."""

    key: str
    field: str
    amount: float
    memory: float


class Tallies:
    """Learns at whatever node something happens; the engine reads what all have learned."""

    def __init__(
        self, clients: RedisClients, scripts: Scripts, clock: Clock, pace: float = 1.0
    ) -> None:
        self._redis = clients.commands
        self._scripts = scripts
        self._clock = clock
        self._pace = pace
        self._waiting: deque[_News] = deque()
        self._bell = Bell()
        self._answers: Mapping[str, Tally] = {}
        self._answers_at_s = float("-inf")
        self._preps: dict[str, tuple[float, Mapping[str, Tally]]] = {}

    def note_answer(self, rider_id: str, *, accepted: bool) -> None:
        """A rider has said yes or no, or nothing, to an offer that he saw; never waits."""
        self._note(_News(keys.riders_answers(), rider_id, float(accepted), MEMORY_ANSWERS))

    def note_ready(self, order: Order) -> None:
        """A vendor's goods are ready; never waits. In a faster city his minutes are shorter."""
        times = order.times
        if order.vendor_id is None or not {S.ACCEPTED, S.READY} <= times.keys():
            return
        minutes = (times[S.READY] - times[S.ACCEPTED]) * self._pace / MINUTE_MS
        name = keys.vendor_preps(order.vendor_id)
        for field in (DAY, str(hour_of(times[S.ACCEPTED]))):
            self._note(_News(name, field, observed(minutes), MEMORY_ORDERS))

    def _note(self, news: _News) -> None:
        if len(self._waiting) >= WAITING_MAX:
            self._waiting.popleft()
            metrics.LESSONS_LOST.inc()
        self._waiting.append(news)
        self._bell.ring()

    async def run(self) -> None:
        """Write what was noted, for as long as the server runs."""
        while True:
            await self._bell.rest(CACHE_S)
            try:
                await self.flush()
            except StoreUnavailable:
                # What was not written is still there.
                self._bell.ring()
                await asyncio.sleep(AWAY_S)

    async def flush(self) -> None:
        """Write what was noted, oldest first.

        Errors: StoreUnavailable; what was not written stays.
        Redis: one script for each; one whose answer was lost is counted twice.
        """
        while self._waiting:
            news = self._waiting[0]
            arguments = (news.memory, TTL_S, news.field, news.amount, 1)
            await self._scripts.run("learn", [news.key], arguments)
            # Others may have pushed the oldest out meanwhile.
            with suppress(ValueError):
                self._waiting.remove(news)

    async def answers(self) -> Mapping[str, Tally]:
        """How often each rider said yes, in how many answers; at most ten seconds old.

        Redis: HGETALL.
        Errors: StoreUnavailable.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._answers_at_s >= CACHE_S:
            with translate():
                found: Any = await self._redis.hgetall(keys.riders_answers())
            self._answers = _tallies(found)
            self._answers_at_s = now_s
        return self._answers

    async def preps(self, vendors: Sequence[str]) -> Mapping[str, Mapping[str, Tally]]:
        """What is known of these vendors, by "day" or hour; at most ten seconds old.

        Redis: HGETALL for each that is not known, one round trip.
        Errors: StoreUnavailable.
        """
        now_s = self._clock.monotonic_s()
        kept = {v: each for v, each in self._preps.items() if now_s - each[0] < CACHE_S}
        missing = [vendor for vendor in vendors if vendor not in kept]
        with translate():
            async with self._redis.pipeline(transaction=False) as pipe:
                for vendor in missing:
                    pipe.hgetall(keys.vendor_preps(vendor))
                found: list[Any] = await pipe.execute() if missing else []
        for vendor, lines in zip(missing, found, strict=True):
            kept[vendor] = (now_s, _tallies(lines))
        self._preps = kept
        return {vendor: kept[vendor][1] for vendor in vendors}


def _tallies(lines: Mapping[bytes, bytes]) -> dict[str, Tally]:
    words = ((field.decode(), text.decode().split()) for field, text in lines.items())
    return {field: Tally(float(amount), float(count)) for field, (amount, count) in words}
