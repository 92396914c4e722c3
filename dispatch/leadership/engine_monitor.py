"""Engine monitor: says where a zone has no live engine, so that no rider is asked."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.storage.leases import is_lease_held
from dispatch.storage.redis_client import RedisClients
from dispatch.wire.events import Alert

CHECK_EVERY_S = 2.0
# Source: docs/promises.md, another engine takes over within 5 s of a kill; twice that is a fault.
MISSING_MAX_S = 10.0
# A missing engine is logged, and raised as an alert, this often. Source: chosen.
REPEAT_EVERY_S = 60.0

log = structlog.get_logger(__name__)

RaiseAlert = Callable[[Alert, int], Awaitable[bool]]


class EngineMonitor:
    """Watches the lease of a zone from a node that needs an engine."""

    def __init__(
        self, redis: RedisClients, zone: str, raise_alert: RaiseAlert, clock: Clock
    ) -> None:
        self._redis = redis
        self._zone = zone
        self._raise_alert = raise_alert
        self._clock = clock
        self._seen_s = clock.monotonic_s()
        self._reported_s = float("-inf")

    async def run(self) -> None:
        """Background loop: check every two seconds."""
        while True:
            # While Redis is away nothing is known; its absence is reported elsewhere.
            with suppress(StoreUnavailable):
                await self.check()
            await asyncio.sleep(CHECK_EVERY_S)

    async def check(self) -> bool:
        """Whether the zone has a live engine, or had one a moment ago.

        Errors: StoreUnavailable.
        """
        now_s = self._clock.monotonic_s()
        if await is_lease_held(self._redis, self._zone):
            if self._seen_s < self._reported_s:
                log.info("engine_is_back", zone=self._zone)
            self._seen_s = now_s
        is_present = now_s - self._seen_s <= MISSING_MAX_S
        metrics.ENGINE_MISSING.set(not is_present)
        if not is_present and now_s - self._reported_s >= REPEAT_EVERY_S:
            self._reported_s = now_s
            await self._report(round(now_s - self._seen_s))
        return is_present

    async def _report(self, missing_s: int) -> None:
        log.warning("no_engine", zone=self._zone, missing_s=missing_s)
        message = (
            f"zone {self._zone} has had no engine for {missing_s} s: no rider is asked; "
            "start a process with ROLE=engine or ROLE=all"
        )
        alert = Alert(kind="no_engine", message=message, ts=self._clock.now_ms())
        await self._raise_alert(alert, round(REPEAT_EVERY_S * 1000))
