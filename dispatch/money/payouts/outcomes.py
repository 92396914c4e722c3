"""Payout outcomes: books what came of a submitted payout, for every kind of report."""

from dispatch import metrics
from dispatch.money.payouts.store import PayoutStore
from ledger.core.facts import OwnerType, PayoutPaid, PayoutReturned
from ledger.posting.ledger import Ledger
from ledger.records.payouts import Payout


class PayoutOutcomes:
    """Books an outcome once; a repeated report of the same outcome changes nothing.

    Errors: every method raises LedgerRefused or Refused WRONG_STATE for an outcome that does not
    fit the payout's state, and TableUnavailable or StoreUnavailable; callers use
    `translate_ledger_errors`.
    """

    def __init__(self, payouts: PayoutStore, ledger: Ledger) -> None:
        self._payouts = payouts
        self._ledger = ledger

    async def paid(self, payout: Payout, fee: int) -> None:
        """The provider has paid, for a fee. Units: whole XAF."""
        await self._post(PayoutPaid(*_fact_fields(payout), fee), "paid")

    async def returned(self, payout: Payout, reason: str) -> None:
        """A paid payout came back."""
        await self._post(PayoutReturned(*_fact_fields(payout), reason), "returned")

    async def failed(self, payout: Payout, reason: str) -> None:
        """The provider has refused; the held amount is released."""
        await self._payouts.fail(payout, reason or "the provider refused")
        metrics.PAYOUTS.labels("failed").inc()

    async def _post(self, fact: PayoutPaid | PayoutReturned, outcome: str) -> None:
        posted = await self._ledger.post(fact)
        if not posted.is_replayed:
            metrics.PAYOUTS.labels(outcome).inc()


def _fact_fields(payout: Payout) -> tuple[str, OwnerType, str, int, str]:
    """The fields with which every fact of a payout begins."""
    return (
        payout.payout_id,
        payout.owner_type,
        payout.owner_id,
        payout.amount,
        payout.provider,
    )
