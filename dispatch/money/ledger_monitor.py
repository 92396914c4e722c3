"""Looks at the books while the server runs: a metric a rule, and no payouts once one is broken."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.money.payout_store import PayoutStore
from dispatch.wire.events import Alert
from ledger.dynamodb.table import Table, TableUnavailable
from ledger.reporting.audit import CONSISTENT_AFTER_MS, Audit
from ledger.reporting.checks import INVARIANTS, LedgerBreak

# Every minute the time since the last look, so that a break is known within two.
VERIFY_EVERY_S = 60.0
# A look begins where the last one ended, and a little before.
OVERLAP_MS = 60_000
# Breaks named in the log; the metric counts them all.
LOGGED_BREAKS_MAX = 10
STOPPED_BY = "warden"
# Operators who were told of broken books are told again after so long.
ALERT_EVERY_MS = 5 * 60_000

# Tells the operators, unless they were told the same within so many milliseconds.
AlertRaiser = Callable[[Alert, int], Awaitable[bool]]

log = structlog.get_logger(__name__)


class LedgerMonitor:
    """Verifies the newest part of the books again and again; corrects nothing."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._payouts = PayoutStore(table)
        self._clock = clock
        self._verified_ms = clock.now_ms() - OVERLAP_MS

    async def run(self, is_leader: Callable[[], bool], raise_alert: AlertRaiser) -> None:
        """Look, for as long as the server runs; `is_held` says whether that is our turn.

        Operators are told of a break by `alarm`.
        """
        while True:
            await asyncio.sleep(VERIFY_EVERY_S)
            if not is_leader():
                continue
            try:
                found = await self.verify()
                if found:
                    await raise_alert(_build_alert(found, self._clock.now_ms()), ALERT_EVERY_MS)
            except (StoreUnavailable, TableUnavailable) as error:
                log.warning("audit_deferred", cause=str(error))

    async def verify(self) -> list[LedgerBreak]:
        """Verify what was posted since the last look; on a break payouts stop.

        Errors: StoreUnavailable, TableUnavailable; the time is looked at again.
        """
        now_ms = self._clock.now_ms()
        audit = Audit(self._table, self._clock.now_ms)
        found = [each async for each in audit.find_breaks(self._verified_ms - OVERLAP_MS)]
        counts = Counter(each.invariant for each in found)
        for invariant in INVARIANTS:
            metrics.LEDGER_BREAKS.labels(invariant).set(counts[invariant])
        metrics.LEDGER_LINES.inc(audit.line_count)
        if found:
            await self._stop_payouts(found)
        self._verified_ms = now_ms - CONSISTENT_AFTER_MS
        metrics.LEDGER_VERIFIED_MS.set(self._verified_ms)
        return found

    async def _stop_payouts(self, found: list[LedgerBreak]) -> None:
        for each in found[:LOGGED_BREAKS_MAX]:
            log.error("ledger_broken", rule=each.invariant, where=each.subject, what=each.detail)
        now_ms = self._clock.now_ms()
        await self._payouts.set_gate(
            stopped=True, reason=str(found[0])[:200], by=STOPPED_BY, now_ms=now_ms
        )


def _build_alert(found: list[LedgerBreak], now_ms: int) -> Alert:
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Alert(kind="ledger_broken", message=f"{found[0]}{more}; payouts are stopped", ts=now_ms)
