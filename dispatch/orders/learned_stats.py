"""What is counted and slowly forgotten: riders' answers to offers, vendors' times to get ready."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from concurrency.wakeup import WakeUp
from dispatch import keys, metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.model import Order
from dispatch.model import OrderStatus as S
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors
from matching.acceptance import ANSWER_DECAY
from matching.prep_times import ALL_DAY, MEMORY_ORDERS, FadedSum, clamp_observation
from matching.speeds import hour_of

MINUTE_MS = 60_000
# A rider or vendor of whom nothing was heard for a month is a new one.
TTL_S = 30 * 24 * 3600
# As many answers as weigh together what the fading of each leaves: 1 + 0.98 + 0.98^2 + ...
MEMORY_ANSWERS = 1 / (1 - ANSWER_DECAY)
# Above this the oldest is dropped and counted: an estimate is poorer by one order.
PENDING_MAX = 10_000
# A store that is away is asked again after this long.
STORE_RETRY_S = 0.5
# What a reader knows is at most so old.
CACHE_S = 10.0


class _Observation(NamedTuple):
    """One observation: to which field of which key, how much, and how much may be kept."""

    key: str
    field: str
    amount: float
    weight_max: float


class LearnedStats:
    """Learns at whatever node something happens; the engine reads what all have learned."""

    def __init__(
        self, clients: RedisClients, scripts: Scripts, clock: Clock, time_scale: float = 1.0
    ) -> None:
        self._redis = clients.commands
        self._scripts = scripts
        self._clock = clock
        self._time_scale = time_scale
        self._pending: deque[_Observation] = deque()
        self._wakeup = WakeUp()
        self._answers: Mapping[str, FadedSum] = {}
        self._answers_read_at_s = float("-inf")
        self._prep_times: dict[str, tuple[float, Mapping[str, FadedSum]]] = {}

    def record_answer(self, rider_id: str, *, accepted: bool) -> None:
        """A rider has said yes or no, or nothing, to an offer that he saw; never waits."""
        self._enqueue(
            _Observation(keys.riders_acceptance(), rider_id, float(accepted), MEMORY_ANSWERS)
        )

    def record_prep_time(self, order: Order) -> None:
        """A vendor's goods are ready; never waits. In a faster city his minutes are shorter."""
        times = order.times
        if order.vendor_id is None or not {S.ACCEPTED, S.READY} <= times.keys():
            return
        minutes = (times[S.READY] - times[S.ACCEPTED]) * self._time_scale / MINUTE_MS
        name = keys.vendor_prep_times(order.vendor_id)
        for field in (ALL_DAY, str(hour_of(times[S.ACCEPTED]))):
            self._enqueue(_Observation(name, field, clamp_observation(minutes), MEMORY_ORDERS))

    def _enqueue(self, observation: _Observation) -> None:
        if len(self._pending) >= PENDING_MAX:
            self._pending.popleft()
            metrics.LEARNING_SAMPLES_DROPPED.inc()
        self._pending.append(observation)
        self._wakeup.set()

    async def run(self) -> None:
        """Write what was noted, for as long as the server runs."""
        while True:
            await self._wakeup.wait(CACHE_S)
            try:
                await self.flush()
            except StoreUnavailable:
                # What was not written is still there.
                self._wakeup.set()
                await asyncio.sleep(STORE_RETRY_S)

    async def flush(self) -> None:
        """Write what was noted, oldest first.

        Errors: StoreUnavailable; what was not written stays.
        Redis: one script for each; one whose answer was lost is counted twice.
        """
        while self._pending:
            news = self._pending[0]
            arguments = (news.weight_max, TTL_S, news.field, news.amount, 1)
            await self._scripts.run("faded_sum_add", [news.key], arguments)
            # Others may have pushed the oldest out meanwhile.
            with suppress(ValueError):
                self._pending.remove(news)

    async def answers(self) -> Mapping[str, FadedSum]:
        """How often each rider said yes, in how many answers; at most ten seconds old.

        Redis: HGETALL.
        Errors: StoreUnavailable.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._answers_read_at_s >= CACHE_S:
            with translate_redis_errors():
                found: Any = await self._redis.hgetall(keys.riders_acceptance())
            self._answers = _decode_faded_sums(found)
            self._answers_read_at_s = now_s
        return self._answers

    async def prep_times(self, vendors: Sequence[str]) -> Mapping[str, Mapping[str, FadedSum]]:
        """What is known of these vendors, by "day" or hour; at most ten seconds old.

        Redis: HGETALL for each that is not known, one round trip.
        Errors: StoreUnavailable.
        """
        now_s = self._clock.monotonic_s()
        kept = {v: each for v, each in self._prep_times.items() if now_s - each[0] < CACHE_S}
        missing = [vendor for vendor in vendors if vendor not in kept]
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for vendor in missing:
                    pipe.hgetall(keys.vendor_prep_times(vendor))
                found: list[Any] = await pipe.execute() if missing else []
        for vendor, lines in zip(missing, found, strict=True):
            kept[vendor] = (now_s, _decode_faded_sums(lines))
        self._prep_times = kept
        return {vendor: kept[vendor][1] for vendor in vendors}


def _decode_faded_sums(fields: Mapping[bytes, bytes]) -> dict[str, FadedSum]:
    words = ((field.decode(), text.decode().split()) for field, text in fields.items())
    return {field: FadedSum(float(amount), float(count)) for field, (amount, count) in words}
