"""Payout outcomes: books what came of a submitted payout, for every kind of report.

A payout that operators booked as failed, and its provider reports as paid, has been paid: it is
booked so, out of what the owner has, and as the owner's debt for the rest; operators are alerted.
"""

import structlog

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.events.alerts import AlertRaiser
from dispatch.money.payouts.store import PayoutStore
from dispatch.wire.events import Alert
from ledger.core.facts import OwnerType, PayoutPaid, PayoutPaidLate, PayoutReturned
from ledger.posting.errors import LedgerRefused
from ledger.posting.ledger import Ledger
from ledger.records.payouts import Payout, PayoutState

# The alert about one payout is repeated after this long, where its report is.
ALERT_EVERY_MS = 5 * 60_000
_PAID_LATE = "was booked as failed and is paid; look for a second payout to the same owner"
_CONTRADICTED = "failed by its provider's report, which now reports it as paid; nothing is booked"

log = structlog.get_logger(__name__)


class PayoutOutcomes:
    """Books an outcome once; a repeated report of the same outcome changes nothing.

    Errors: every method raises LedgerRefused or Refused WRONG_STATE for an outcome that does not
    fit the payout's state, and TableUnavailable or StoreUnavailable; callers use
    `translate_ledger_errors`.
    """

    def __init__(
        self, payouts: PayoutStore, ledger: Ledger, raise_alert: AlertRaiser, clock: Clock
    ) -> None:
        self._payouts = payouts
        self._ledger = ledger
        self._raise_alert = raise_alert
        self._clock = clock

    async def paid(self, payout: Payout, fee: int) -> None:
        """The provider has paid, for a fee. Units: whole XAF.

        Refused where the provider itself had reported a failure: people look into that.
        """
        try:
            await self._book_paid(payout, fee)
        except LedgerRefused:
            # It may have been booked as failed since it was read.
            now = await self._payouts.get(payout.payout_id)
            if now.payout_state is not PayoutState.FAILED:
                raise
            if now.ended_by is None:
                await self._alert(now, "payout_contradicted", _CONTRADICTED)
                raise
            await self._book_paid(now, fee)

    async def _book_paid(self, payout: Payout, fee: int) -> None:
        is_failed_by_hand = payout.ended_by is not None and not payout.is_paid_late
        is_late = is_failed_by_hand and payout.payout_state is PayoutState.FAILED
        fact = paid_fact(payout, fee, is_late=is_late)
        if isinstance(fact, PayoutPaid):
            await self._post(fact, "paid")
        else:
            await self._post(fact, "paid_late")
            await self._alert(payout, "payout_paid_late", _PAID_LATE)

    async def _alert(self, payout: Payout, kind: str, what: str) -> None:
        """Tell operators what a provider reports against what is booked.

        Errors: StoreUnavailable; the provider repeats its report, and with it the alert.
        """
        log.error(kind, payout_id=payout.payout_id, amount_xaf=payout.amount)
        message = f"payout {payout.payout_id} of {payout.amount} XAF {what}"
        now_ms = self._clock.now_ms()
        alert = Alert(kind=kind, message=message, payout_id=payout.payout_id, ts=now_ms)
        await self._raise_alert(alert, ALERT_EVERY_MS)

    async def returned(self, payout: Payout, reason: str) -> None:
        """A paid payout came back."""
        await self._post(returned_fact(payout, reason), "returned")

    async def failed(self, payout: Payout, reason: str) -> None:
        """The provider has refused; the held amount is released."""
        await self._payouts.fail(payout, reason or "the provider refused")
        metrics.PAYOUTS.labels("failed").inc()

    async def _post(self, fact: PayoutPaid | PayoutPaidLate | PayoutReturned, outcome: str) -> None:
        posted = await self._ledger.post(fact)
        if not posted.is_replayed:
            metrics.PAYOUTS.labels(outcome).inc()


def paid_fact(payout: Payout, fee: int, *, is_late: bool) -> PayoutPaid | PayoutPaidLate:
    """The fact that a payout was paid; late, after it was booked as failed: its hold is gone."""
    if is_late or payout.is_paid_late:
        return PayoutPaidLate(*_fact_fields(payout), fee)
    return PayoutPaid(*_fact_fields(payout), fee)


def returned_fact(payout: Payout, reason: str) -> PayoutReturned:
    """The fact that a paid payout came back."""
    return PayoutReturned(*_fact_fields(payout), reason)


def _fact_fields(payout: Payout) -> tuple[str, OwnerType, str, int, str]:
    """The fields with which every fact of a payout begins."""
    return (
        payout.payout_id,
        payout.owner_type,
        payout.owner_id,
        payout.amount,
        payout.provider,
    )
