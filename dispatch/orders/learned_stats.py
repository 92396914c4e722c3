"""Learned statistics: riders' answers to offers and vendors' preparation times, fading sums."""

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from concurrency.wakeup import WakeUp
from dispatch import keys, metrics
from dispatch.clock import Clock
from dispatch.errors import STORE_RETRY_S, StoreUnavailable
from dispatch.ids import RiderId
from dispatch.model import Order, OrderStatus
from dispatch.orders.units import MINUTE_MS
from dispatch.storage.redis_client import RedisClients, Scripts, translate_redis_errors
from matching.acceptance import ANSWER_DECAY
from matching.prep_times import ALL_DAY, MEMORY_ORDERS, FadedSum, clamp_observation
from matching.speeds import hour_of

# Statistics of a rider or vendor without an observation for a month are dropped.
TTL_S = 30 * 24 * 3600
# The weight to which answers add up when each fades: 1 + 0.98 + 0.98^2 + ...
MEMORY_ANSWERS = 1 / (1 - ANSWER_DECAY)
# Observations that wait for Redis; above it the oldest is dropped and counted. An estimate is then
# poorer by one order.
PENDING_MAX = 10_000
# How old a cached read may be.
CACHE_S = 10.0


class _Observation(NamedTuple):
    """One observation: the hash and field it is added to, its value, and the sum's weight limit."""

    key: str
    field: str
    amount: float
    weight_max: float


class _CachedPrepTimes(NamedTuple):
    read_at_s: float
    by_hour: Mapping[str, FadedSum]


class LearnedStats:
    """Records observations on every node, and reads what all nodes have recorded."""

    def __init__(
        self,
        clients: RedisClients,
        scripts: Scripts,
        clock: Clock,
        time_scale: float = 1.0,
        pending_max: int = PENDING_MAX,
    ) -> None:
        self._redis = clients.commands
        self._scripts = scripts
        self._clock = clock
        self._time_scale = time_scale
        self._pending_max = pending_max
        self._pending: deque[_Observation] = deque()
        self._wakeup = WakeUp()
        self._answers: Mapping[str, FadedSum] = {}
        self._answers_read_at_s = float("-inf")
        self._prep_times: dict[str, _CachedPrepTimes] = {}

    def record_answer(self, rider_id: RiderId, *, accepted: bool) -> None:
        """Record a rider's answer to an offer; silence is a decline. Never waits."""
        self._enqueue(
            _Observation(keys.riders_acceptance(), rider_id, float(accepted), MEMORY_ANSWERS)
        )

    def record_prep_time(self, order: Order) -> None:
        """Record how long the vendor took from acceptance to readiness. Never waits.

        Where time runs faster (`time_scale`), the minutes are those of the replayed day.
        """
        times = order.times
        is_complete = {OrderStatus.ACCEPTED, OrderStatus.READY} <= times.keys()
        if order.vendor_id is None or not is_complete:
            return
        accepted_ms = times[OrderStatus.ACCEPTED]
        minutes = (times[OrderStatus.READY] - accepted_ms) * self._time_scale / MINUTE_MS
        key = keys.vendor_prep_times(order.vendor_id)
        for field in (ALL_DAY, str(hour_of(accepted_ms))):
            self._enqueue(_Observation(key, field, clamp_observation(minutes), MEMORY_ORDERS))

    def _enqueue(self, observation: _Observation) -> None:
        if len(self._pending) >= self._pending_max:
            self._pending.popleft()
            metrics.LEARNING_SAMPLES_DROPPED.inc()
        self._pending.append(observation)
        self._wakeup.set()

    async def run(self) -> None:
        """Write recorded observations, for as long as the server runs."""
        while True:
            await self._wakeup.wait(CACHE_S)
            try:
                await self.flush()
            except StoreUnavailable:
                # What was not written is still pending.
                self._wakeup.set()
                await asyncio.sleep(STORE_RETRY_S)

    async def flush(self) -> None:
        """Write the recorded observations, oldest first.

        Errors: StoreUnavailable; what was not written stays pending.
        Redis: one script call for each; one whose answer was lost is counted twice.
        """
        while self._pending:
            oldest = self._pending[0]
            arguments = (oldest.weight_max, TTL_S, oldest.field, oldest.amount, 1)
            await self._scripts.run("faded_sum_add", [oldest.key], arguments)
            # It may have been dropped meanwhile.
            with suppress(ValueError):
                self._pending.remove(oldest)

    async def answers(self) -> Mapping[str, FadedSum]:
        """Each rider's acceptances out of its answers, at most ten seconds old.

        Redis: HGETALL.
        Errors: StoreUnavailable.
        """
        now_s = self._clock.monotonic_s()
        if now_s - self._answers_read_at_s >= CACHE_S:
            with translate_redis_errors():
                fields: Any = await self._redis.hgetall(keys.riders_acceptance())
            self._answers = _decode_faded_sums(fields)
            self._answers_read_at_s = now_s
        return self._answers

    async def prep_times(self, vendor_ids: Sequence[str]) -> Mapping[str, Mapping[str, FadedSum]]:
        """The preparation times of these vendors by "day" or hour, at most ten seconds old.

        Units: minutes.
        Redis: HGETALL for each vendor that is not cached, one round trip.
        Errors: StoreUnavailable.
        """
        now_s = self._clock.monotonic_s()
        cached = {
            vendor_id: each
            for vendor_id, each in self._prep_times.items()
            if now_s - each.read_at_s < CACHE_S
        }
        missing = [vendor_id for vendor_id in vendor_ids if vendor_id not in cached]
        for vendor_id, fields in zip(missing, await self._read_prep_times(missing), strict=True):
            cached[vendor_id] = _CachedPrepTimes(now_s, _decode_faded_sums(fields))
        self._prep_times = cached
        return {vendor_id: cached[vendor_id].by_hour for vendor_id in vendor_ids}

    async def _read_prep_times(self, vendor_ids: Sequence[str]) -> Sequence[Mapping[bytes, bytes]]:
        if not vendor_ids:
            return []
        with translate_redis_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                for vendor_id in vendor_ids:
                    pipe.hgetall(keys.vendor_prep_times(vendor_id))
                return await pipe.execute()


def _decode_faded_sums(fields: Mapping[bytes, bytes]) -> dict[str, FadedSum]:
    words = ((field.decode(), text.decode().split()) for field, text in fields.items())
    return {field: FadedSum(float(amount), float(weight)) for field, (amount, weight) in words}
