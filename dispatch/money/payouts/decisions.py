"""Payout decisions: operators approve or reject payouts, and report those that are paid by hand.

What one operator may do alone is carried out at once; the rest is proposed to another one.
"""

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from dispatch import metrics
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.money.approvals.acts import (
    GateClosingAct,
    GateOpeningAct,
    PayoutApprovalAct,
    PayoutOutcomeAct,
    PayoutRejectionAct,
)
from dispatch.money.approvals.model import Approval
from dispatch.money.approvals.proposals import Proposals
from dispatch.money.correction_store import CorrectionStore
from dispatch.money.idempotent_store import Answer
from dispatch.money.payouts.gate_store import GateChange, PayoutGateStore
from dispatch.money.payouts.outcomes import paid_fact, returned_fact
from dispatch.money.payouts.providers import MANUAL
from dispatch.money.payouts.store import PayoutStore, payout_view
from dispatch.orders.unit_of_work import Caller
from dispatch.wire.http.admin_money import PayoutGate, PayoutOutcome
from ledger.records.payouts import Payout, PayoutState


class DecisionStores(NamedTuple):
    """What decisions read and write."""

    payouts: PayoutStore
    gate: PayoutGateStore
    postings: CorrectionStore
    proposals: Proposals


class PayoutDecisions:
    """Takes operators' decisions; `on_approved` is called with the id of an approved payout.

    Errors: every method raises StoreUnavailable, and Refused CONFLICT where a request key was used
    for another body; those that carry an approval out Refused WRONG_STATE where it is decided.
    """

    def __init__(
        self, stores: DecisionStores, on_approved: Callable[[str], None], clock: Clock
    ) -> None:
        self._payouts, self._gate, self._postings, self._proposals = stores
        self._on_approved = on_approved
        self._clock = clock

    async def approve(self, caller: Caller, payout_id: str) -> Answer:
        """Approve a payout as another person than its requester, or propose it above the limit.

        Errors: Refused NOT_FOUND; FORBIDDEN for the requester; WRONG_STATE; CONFLICT while payouts
        are stopped, or where the owner owes.
        """
        first = await self._payouts.find_answer(caller.request_key)
        if first is not None:
            return first
        payout = await self._payouts.get(payout_id)
        _require_other_person(payout, caller)
        act = PayoutApprovalAct(
            payout_id=payout_id,
            owner_type=payout.owner_type,
            owner_id=payout.owner_id,
            amount=payout.amount,
            destination=payout.destination,
        )
        if self._proposals.needs_two(payout.amount):
            _require_state(payout, PayoutState.REQUESTED)
            return await self._proposals.propose(caller, act)
        return await self.carry_out_approval(act, caller)

    async def carry_out_approval(
        self, act: PayoutApprovalAct, caller: Caller, approval: Approval | None = None
    ) -> Answer:
        """Approve a payout. Errors: as `approve`."""
        payout = await self._payouts.get(act.payout_id)
        _require_other_person(payout, caller)
        keep = self._proposals.keep(caller, act, approval)
        answer = await self._payouts.approve(payout, caller.id, keep)
        self._on_approved(act.payout_id)
        return answer

    async def reject(self, caller: Caller, payout_id: str, reason: str) -> Answer:
        """Reject a payout and release its amount.

        Errors: Refused NOT_FOUND; WRONG_STATE.
        """
        first = await self._payouts.find_answer(caller.request_key)
        if first is not None:
            return first
        payout = await self._payouts.get(payout_id)
        act = PayoutRejectionAct(payout_id=payout_id, amount=payout.amount, reason=reason)
        keep = self._proposals.keep(caller, act, None)
        answer = await self._payouts.end(payout, PayoutState.REJECTED, reason, caller.id, keep)
        metrics.PAYOUTS.labels("rejected").inc()
        return answer

    async def record_manual_outcome(
        self, caller: Caller, payout_id: str, report: PayoutOutcome
    ) -> Answer:
        """Book what an operator reports of a submitted or paid payout.

        Alone only of one that is paid by hand, up to the limit: a gateway may still be at work on
        any other, and what is released may be paid again.

        Errors: Refused NOT_FOUND; WRONG_STATE.
        """
        first = await self._payouts.find_answer(caller.request_key)
        if first is not None:
            return first
        payout = await self._payouts.get(payout_id)
        act = PayoutOutcomeAct(
            payout_id=payout_id,
            provider=payout.provider,
            amount=payout.amount,
            status=report.status,
            fee=report.fee,
            reason=report.reason,
        )
        if payout.payout_state.value == report.status:
            return payout_view(payout)
        if payout.provider != MANUAL or self._proposals.needs_two(payout.amount):
            _require_state(payout, *_STATES_BEFORE[report.status])
            return await self._proposals.propose(caller, act)
        return await self.carry_out_outcome(act, caller)

    async def carry_out_outcome(
        self, act: PayoutOutcomeAct, caller: Caller, approval: Approval | None = None
    ) -> Answer:
        """Book an outcome. Errors: as `record_manual_outcome`."""
        payout = await self._payouts.get(act.payout_id)
        keep = self._proposals.keep(caller, act, approval)
        state = PayoutState(act.status)
        if state is PayoutState.FAILED:
            answer = await self._payouts.end(payout, state, act.reason, caller.id, keep)
        else:
            is_return = state is PayoutState.RETURNED
            fact = (
                returned_fact(payout, act.reason)
                if is_return
                else paid_fact(payout, act.fee, is_late=payout.payout_state is PayoutState.FAILED)
            )
            after = replace(
                payout,
                payout_state=state,
                fee=payout.fee if is_return else act.fee,
                reason=act.reason if is_return else payout.reason,
                updated_at=self._clock.now_ms(),
            )
            answer = await self._postings.post(fact, keep(payout_view(after)))
        metrics.PAYOUTS.labels(act.status.lower()).inc()
        return answer

    async def get_gate(self) -> Answer:
        """Whether payouts are stopped, since when, by whom and why, and the last changes."""
        return await self._gate.get()

    async def set_gate(self, caller: Caller, change: PayoutGate) -> Answer:
        """Stop payouts at once, or propose to let them continue.

        Errors: Refused CONFLICT where the request's id was used for another body.
        """
        first = await self._gate.find_answer(caller.request_key)
        if first is not None:
            return first
        if change.stopped:
            closing = GateClosingAct(reason=change.reason)
            keep = self._proposals.keep(caller, closing, None)
            return await self._gate.stop(change.reason, caller.id, keep)
        last = await self._gate.last_change()
        if last is None or not last.stopped:
            return await self._gate.get()
        opening = GateOpeningAct(
            stopped_at=last.at, stopped_by=last.by, stopped_for=last.reason, reason=change.reason
        )
        return await self._proposals.propose(caller, opening)

    async def carry_out_opening(
        self, act: GateOpeningAct, caller: Caller, approval: Approval | None = None
    ) -> Answer:
        """Let payouts continue that another person proposed to.

        Errors: Refused CONFLICT where payouts were stopped again since.
        """
        change = GateChange(
            stopped=False,
            reason=act.reason,
            by=caller.id,
            at=self._clock.now_ms(),
            proposed_by=None if approval is None else approval.proposed_by,
        )
        keep = self._proposals.keep(caller, act, approval)
        return await self._gate.reopen(change, act.stopped_at, keep)


# The states in which an outcome may be reported; a failed payout may turn out to be paid.
_STATES_BEFORE = {
    "PAID": (PayoutState.SUBMITTED, PayoutState.FAILED),
    "FAILED": (PayoutState.SUBMITTED,),
    "RETURNED": (PayoutState.PAID,),
}


def _require_other_person(payout: Payout, caller: Caller) -> None:
    if payout.requested_by == caller.id:
        raise Refused(Refusal.FORBIDDEN, "another person than the requester must agree")


def _require_state(payout: Payout, *states: PayoutState) -> None:
    if payout.payout_state not in states:
        raise Refused(Refusal.WRONG_STATE, f"the payout is {payout.payout_state}")
