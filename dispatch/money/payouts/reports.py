"""Payout reports: applies the webhook events of payout providers."""

from dispatch.errors import Refusal, Refused
from dispatch.events.idempotency_records import RequestKey
from dispatch.money.idempotent_store import Answer
from dispatch.money.ledger_errors import translate_ledger_errors
from dispatch.money.payouts.outcomes import PayoutOutcomes
from dispatch.money.payouts.store import PayoutStore, payout_view
from dispatch.wire.webhooks import (
    PAYOUT_FAILED,
    PAYOUT_PAID,
    PAYOUT_RETURNED,
    PayoutEvent,
    PayoutReport,
)
from ledger.core.money import CURRENCY
from ledger.records.payouts import Payout, PayoutState


class PayoutReports:
    """Takes verified events about payouts."""

    def __init__(self, payouts: PayoutStore, outcomes: PayoutOutcomes) -> None:
        self._payouts = payouts
        self._outcomes = outcomes

    async def handle_webhook_event(
        self, provider: str, event: PayoutEvent, request_key: RequestKey
    ) -> Answer:
        """Apply a provider's event, once for each event id; an unknown type changes nothing.

        Errors: Refused NOT_FOUND for a payout that this provider was not asked for; CONFLICT for
        another amount, fee, or event under the same id; MALFORMED for another currency; WRONG_STATE
        for an event that does not fit the payout's state, which the provider repeats or a person
        looks into; StoreUnavailable.
        """
        first = await self._payouts.find_answer(request_key)
        if first is not None:
            return first
        payout = await self._find_reported(provider, event.data)
        with translate_ledger_errors():
            await self._apply_event(payout, event)
        answer = payout_view(await self._payouts.get(payout.payout_id))
        return await self._payouts.save_answer(request_key, answer)

    async def _find_reported(self, provider: str, report: PayoutReport) -> Payout:
        payout = await self._payouts.get(report.payout_id)
        if (payout.provider, payout.provider_ref) != (provider, report.reference):
            raise Refused(Refusal.NOT_FOUND, f"there is no payout {report.payout_id}")
        if report.currency != CURRENCY:
            raise Refused(Refusal.MALFORMED, f"data.currency: only {CURRENCY} is paid")
        if report.amount != payout.amount:
            raise Refused(Refusal.CONFLICT, "the payout is not what was asked for")
        return payout

    async def _apply_event(self, payout: Payout, event: PayoutEvent) -> None:
        report = event.data
        if event.type == PAYOUT_PAID:
            await self._outcomes.paid(payout, report.fee or 0)
        elif event.type == PAYOUT_RETURNED:
            await self._outcomes.returned(payout, report.reason or "")
        elif event.type == PAYOUT_FAILED and payout.payout_state is not PayoutState.FAILED:
            await self._outcomes.failed(payout, report.reason or "")
