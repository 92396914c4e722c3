"""Leader lease: runs the engine's work while this node holds its zone's lease, and only then."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.storage.leases import Fence, Lease, Leases

# A lease that another node holds is tried this often.
ACQUIRE_EVERY_S = 0.5
# A held lease is renewed this often, three times before it ends.
RENEW_EVERY_S = 1.0
RENEW_RETRY_S = 0.25
# A stopping server releases its lease within this time; otherwise the lease runs out.
RELEASE_TIMEOUT_S = 1.0

log = structlog.get_logger(__name__)


class LeaderLease:
    """Acquires and renews a lease, and runs `work` while it is held.

    A process that was suspended may run for a moment beside the new leader; the fence and the
    conditions of its writes make that harmless. Source: decision 9.
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
        """Whether this node is the leader."""
        return self.lease is not None

    async def run(self) -> None:
        """Background loop: acquire the lease, work until it is lost, acquire it again."""
        while True:
            requested_s = self._clock.monotonic_s()
            # Without Redis no node is the leader.
            with suppress(StoreUnavailable):
                self.lease = await self._leases.acquire(self._name)
            if self.lease is None:
                await asyncio.sleep(ACQUIRE_EVERY_S)
                continue
            self._fence.grant(self.lease.token, requested_s + self._leases.ttl_ms / 1000)
            await self._lead(self.lease)

    async def _lead(self, lease: Lease) -> None:
        metrics.ENGINES_LIVE.set(1)
        log.info("leadership_acquired", zone=self._name, token=lease.token)
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
            log.info("leadership_released", zone=self._name, token=lease.token)
        if not work.cancelled():
            # The work has ended by itself: raise its error.
            await work

    async def _renew_until_lost(self, lease: Lease, work: "asyncio.Future[None]") -> None:
        """Renew the lease until it is lost or the work has ended."""
        pause_s = RENEW_EVERY_S
        while self._fence.remaining_s > 0:
            await asyncio.wait([work], timeout=min(pause_s, self._fence.remaining_s))
            if work.done():
                return
            renewed_s = self._clock.monotonic_s()
            try:
                async with asyncio.timeout(max(0.0, min(RENEW_EVERY_S, self._fence.remaining_s))):
                    if not await self._leases.renew(lease):
                        return
                self._fence.grant(lease.token, renewed_s + self._leases.ttl_ms / 1000)
                pause_s = RENEW_EVERY_S
            except (StoreUnavailable, TimeoutError):
                pause_s = RENEW_RETRY_S

    async def _release(self, lease: Lease) -> None:
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(RELEASE_TIMEOUT_S):
                await self._leases.release(lease)
