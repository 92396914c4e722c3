"""Payout decisions: operators approve or reject payouts, and report those that are paid by hand."""

from collections.abc import Callable

from dispatch import metrics
from dispatch.errors import Refusal, Refused
from dispatch.money.idempotent_store import Answer
from dispatch.money.ledger_errors import translate_ledger_errors
from dispatch.money.payouts.outcomes import PayoutOutcomes
from dispatch.money.payouts.store import PayoutStore, payout_view
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.http.admin_money import PayoutOutcome
from ledger.records.payouts import Payout, PayoutState


class PayoutDecisions:
    """Takes operators' decisions; `on_approved` is called with the id of an approved payout.

    Errors: every method raises StoreUnavailable, and Refused CONFLICT where a request key was used
    for another body.
    """

    def __init__(
        self, payouts: PayoutStore, outcomes: PayoutOutcomes, on_approved: Callable[[str], None]
    ) -> None:
        self._payouts = payouts
        self._outcomes = outcomes
        self._on_approved = on_approved

    async def approve(self, caller: Caller, payout_id: str) -> Answer:
        """Approve a payout as another person than its requester.

        Errors: Refused NOT_FOUND; FORBIDDEN for the requester; WRONG_STATE; CONFLICT while payouts
        are stopped.
        """
        first = await self._payouts.find_answer(caller.request_key)
        if first is not None:
            return first
        payout = await self._payouts.get(payout_id)
        if payout.requested_by == caller.id:
            raise Refused(Refusal.FORBIDDEN, "another person than the requester must agree")
        answer = await self._payouts.approve(payout, caller.id, caller.request_key)
        self._on_approved(payout_id)
        return answer

    async def reject(self, caller: Caller, payout_id: str, reason: str) -> Answer:
        """Reject a payout and release its amount.

        Errors: Refused NOT_FOUND; WRONG_STATE.
        """
        payout = await self._payouts.get(payout_id)
        return await self._end(caller, payout, PayoutState.REJECTED, reason)

    async def record_manual_outcome(
        self, caller: Caller, payout_id: str, report: PayoutOutcome
    ) -> Answer:
        """Book what an operator reports of a submitted or paid payout.

        Errors: Refused NOT_FOUND; WRONG_STATE.
        """
        payout = await self._payouts.get(payout_id)
        if report.status == "FAILED":
            return await self._end(caller, payout, PayoutState.FAILED, report.reason)
        with translate_ledger_errors():
            if report.status == "RETURNED":
                await self._outcomes.returned(payout, report.reason)
            else:
                await self._outcomes.paid(payout, report.fee)
        return payout_view(await self._payouts.get(payout_id))

    async def _end(self, caller: Caller, payout: Payout, to: PayoutState, reason: str) -> Answer:
        first = await self._payouts.find_answer(caller.request_key)
        if first is not None:
            return first
        answer = await self._payouts.end(payout, to, reason, caller.request_key)
        metrics.PAYOUTS.labels(to.value.lower()).inc()
        return answer
