"""One live engine for each zone: it ticks while this node holds the zone's lease, and only then."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.storage.leases import Fence, Lease, Leases

# A lease that another node holds is asked for this often.
ACQUIRE_EVERY_S = 0.5
# A lease of ours is renewed this often; three times before it ends.
RENEW_EVERY_S = 1.0
RENEW_RETRY_S = 0.25
# A stopping server gives its lease back within this, or its end does.
RELEASE_TIMEOUT_S = 1.0

log = structlog.get_logger(__name__)


class LeaderLease:
    """Runs `work` while the lease is held.

    Two nodes may work at once for a moment, where one of them was stopped and goes on; the fence
    and the conditions of its writes see to it that it does no harm.
    """

    def __init__(
        self,
        leases: Leases,
        fence: Fence,
        name: str,
        work: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self._leases = leases
        self._fence = fence
        self._name = name
        self._work = work
        self._clock = clock
        self.lease: Lease | None = None

    @property
    def is_held(self) -> bool:
        """Whether this node is the live one."""
        return self.lease is not None

    async def run(self) -> None:
        """Ask for the lease, work under it, and again, for as long as the server runs."""
        while True:
            asked_s = self._clock.monotonic_s()
            # Redis is away: nobody works, and nobody could.
            with suppress(StoreUnavailable):
                self.lease = await self._leases.acquire(self._name)
            if self.lease is None:
                await asyncio.sleep(ACQUIRE_EVERY_S)
                continue
            self._fence.grant(self.lease.token, asked_s + self._leases.ttl_ms / 1000)
            await self._lead(self.lease)

    async def _lead(self, lease: Lease) -> None:
        metrics.ENGINES_LIVE.set(1)
        log.info("engine_live", zone=self._name, token=lease.token)
        work = asyncio.ensure_future(self._work())
        try:
            await self._renew_until_lost(lease, work)
        finally:
            self._fence.revoke()
            self.lease = None
            metrics.ENGINES_LIVE.set(0)
            work.cancel()
            await asyncio.wait([work])
            await self._release(lease)
            log.info("engine_rests", zone=self._name, token=lease.token)
        if not work.cancelled():
            # It ended by itself, which is an error of its own.
            await work

    async def _renew_until_lost(self, lease: Lease, work: "asyncio.Future[None]") -> None:
        """Renew until the lease is lost, or until the work has ended."""
        pause_s = RENEW_EVERY_S
        while self._fence.remaining_s > 0:
            await asyncio.wait([work], timeout=min(pause_s, self._fence.remaining_s))
            if work.done():
                return
            began_s = self._clock.monotonic_s()
            try:
                async with asyncio.timeout(max(0.0, min(RENEW_EVERY_S, self._fence.remaining_s))):
                    if not await self._leases.renew(lease):
                        return
                self._fence.grant(lease.token, began_s + self._leases.ttl_ms / 1000)
                pause_s = RENEW_EVERY_S
            except (StoreUnavailable, TimeoutError):
                pause_s = RENEW_RETRY_S

    async def _release(self, lease: Lease) -> None:
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._leases.release(lease)
