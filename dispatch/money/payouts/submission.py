"""Payout submission: worker that sends approved payouts to the provider and polls their state."""

import asyncio

import structlog

from concurrency.work_queue import WorkQueue
from dispatch.clock import Clock
from dispatch.errors import Refused, StoreUnavailable
from dispatch.money.ledger_errors import translate_ledger_errors
from dispatch.money.payouts.outcomes import PayoutOutcomes
from dispatch.money.payouts.providers import NamedProvider, ProviderReport, ProviderStatus
from dispatch.money.payouts.store import PayoutStore
from ledger.core.accounts import LIST_SHARDS
from ledger.records.payouts import Payout, PayoutState

# Payouts that wait to be sent by this node; above it they are left to the sweep.
QUEUE_MAX = 1_000
# Providers call back; the sweep is for what they or a dead node have left. Source: measured, a
# query takes 1 to 1.8 ms of CPU, and a sweep makes sixteen for each state.
SWEEP_EVERY_S = 10.0
# In this order: what a sweep has just sent need not be asked for at once.
SWEPT_STATES = (PayoutState.SUBMITTED, PayoutState.APPROVED)
# A payout whose reference the provider does not know is submitted again after this long: the
# provider's reads may lag behind. Under the same reference nothing is paid twice.
RESUBMIT_AFTER_MS = 15_000

log = structlog.get_logger(__name__)


class PayoutSubmitter:
    """Moves approved and submitted payouts on, at once by its queue or later by its sweep."""

    def __init__(
        self, payouts: PayoutStore, outcomes: PayoutOutcomes, provider: NamedProvider, clock: Clock
    ) -> None:
        self._payouts = payouts
        self._outcomes = outcomes
        self._provider_name, self._provider = provider
        self._clock = clock
        self._queue = WorkQueue[str](QUEUE_MAX, workers=1)

    def enqueue(self, payout_id: str) -> None:
        """Queue a payout that has just been approved; never blocks. Overflow: the sweep."""
        self._queue.offer(payout_id)

    async def run(self) -> None:
        """Background loop: process the queue."""
        await self._queue.run(self.process_payout)

    async def sweep(self) -> None:
        """Background loop: process what the queue has missed, every `SWEEP_EVERY_S`."""
        while True:
            try:
                await self.sweep_once(SWEEP_EVERY_S)
            except StoreUnavailable as error:
                log.warning("payout_sweep_deferred", cause=str(error))
                await asyncio.sleep(SWEEP_EVERY_S)

    async def sweep_once(self, spread_s: float = 0.0) -> int:
        """Process every submitted or approved payout; returns how many there were.

        The queries are spread over `spread_s`: in a row they would delay other work.

        Units: seconds.
        Errors: StoreUnavailable.
        """
        shards = [(state, shard) for state in SWEPT_STATES for shard in range(LIST_SHARDS)]
        count = 0
        for state, shard in shards:
            await asyncio.sleep(spread_s / len(shards))
            for payout in await self._payouts.list_oldest(state, shard):
                await self.process_payout(payout.payout_id)
                count += 1
        return count

    async def process_payout(self, payout_id: str) -> None:
        """Move one payout on as far as possible now; errors are logged and left to the sweep."""
        try:
            with translate_ledger_errors():
                await self._process(payout_id)
        except (Refused, StoreUnavailable) as error:
            log.warning("payout_deferred", payout_id=payout_id, cause=str(error))

    async def _process(self, payout_id: str) -> None:
        payout = await self._payouts.get(payout_id)
        if payout.payout_state is PayoutState.APPROVED:
            # Written before the call: whatever comes of it is found under this reference.
            payout = await self._payouts.submit(payout_id)
            report = await self._provider.submit(payout, _reference(payout))
        elif (
            payout.payout_state is PayoutState.SUBMITTED and payout.provider == self._provider_name
        ):
            report = await self._check_status(payout)
        else:
            return
        if report.status is ProviderStatus.PAID:
            await self._outcomes.paid(payout, report.fee)
        elif report.status is ProviderStatus.FAILED:
            await self._outcomes.failed(payout, report.reason)

    async def _check_status(self, payout: Payout) -> ProviderReport:
        """Ask for a submitted payout, and submit it again if the provider does not know it."""
        now_ms = self._clock.now_ms()
        report = await self._provider.check_status(payout, _reference(payout))
        may_resubmit = now_ms - (payout.submitted_at or now_ms) >= RESUBMIT_AFTER_MS
        if report.status is ProviderStatus.NOT_FOUND and may_resubmit:
            return await self._provider.submit(payout, _reference(payout))
        return report


def _reference(payout: Payout) -> str:
    assert payout.provider_ref is not None, "written before anything is sent"
    return payout.provider_ref
