"""Ledger monitor: audits the newest part of the ledger all the time, and stops payouts on a break.

A metric for each invariant counts its breaks.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.alerts import AlertRaiser
from dispatch.money.payouts.gate_store import PayoutGateStore
from dispatch.storage.dynamodb_errors import translate_dynamodb_errors
from dispatch.wire.events import Alert
from ledger.reporting.audit import CONSISTENT_AFTER_MS, Audit
from ledger.reporting.checks import INVARIANTS, LedgerBreak

# Each audit covers the time since the last one, so that a break is known within two minutes.
VERIFY_EVERY_S = 60.0
# An audit begins this long before the end of the last one.
OVERLAP_MS = 60_000
# Breaks that are logged one by one; the metric counts them all.
LOGGED_BREAKS_MAX = 10
STOPPED_BY = "ledger_monitor"
# The alert for operators is repeated after this long.
ALERT_EVERY_MS = 5 * 60_000

log = structlog.get_logger(__name__)


class LedgerMonitor:
    """Audits what was posted since the last audit; never changes the ledger."""

    def __init__(self, gate: PayoutGateStore, new_audit: Callable[[], Audit], clock: Clock) -> None:
        self._gate = gate
        self._new_audit = new_audit
        self._clock = clock
        self._verified_ms = clock.now_ms() - OVERLAP_MS

    async def run(self, is_leader: Callable[[], bool], raise_alert: AlertRaiser) -> None:
        """Background loop: audit every minute on the leader's node, with an alert on a break."""
        while True:
            await asyncio.sleep(VERIFY_EVERY_S)
            if not is_leader():
                continue
            try:
                found = await self.verify()
                if found:
                    await raise_alert(_build_alert(found, self._clock.now_ms()), ALERT_EVERY_MS)
            except StoreUnavailable as error:
                log.warning("ledger_check_deferred", cause=str(error))

    async def verify(self) -> list[LedgerBreak]:
        """Audit what was posted since the last call; stop payouts on a break.

        Errors: StoreUnavailable; the next call covers the same time again.
        """
        now_ms = self._clock.now_ms()
        audit = self._new_audit()
        with translate_dynamodb_errors():
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
        await self._gate.stop_by_server(str(found[0])[:200], STOPPED_BY)


def _build_alert(found: list[LedgerBreak], now_ms: int) -> Alert:
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return Alert(kind="ledger_broken", message=f"{found[0]}{more}; payouts are stopped", ts=now_ms)
