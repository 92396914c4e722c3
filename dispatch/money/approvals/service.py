"""Approval service: another person approves a proposed act, and its effect is carried out."""

from typing import Any, NamedTuple

from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.events.audit_records import resource_of
from dispatch.money.approvals.acts import (
    PayoutApprovalAct,
    PayoutOutcomeAct,
    RefundAct,
    RemittanceAct,
)
from dispatch.money.approvals.model import (
    Approval,
    ApprovalState,
    approval_view,
    read_approval,
)
from dispatch.money.approvals.store import ApprovalStore
from dispatch.money.correction_store import proposal_view
from dispatch.money.corrections import CorrectionService
from dispatch.money.idempotent_store import Answer, not_pending
from dispatch.money.payouts.decisions import PayoutDecisions
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.paging import PageRequest
from ledger.core.accounts import LIST_SHARDS
from ledger.records.adjustments import AdjustmentState, adjustment_queue_pk, read_proposal

# An adjustment always needs two people; its id is that of its approval.
_ADJUSTMENT_PREFIX = "adj_"
_ADJUSTMENT_STATES = {
    ApprovalState.PENDING: AdjustmentState.PENDING,
    ApprovalState.APPROVED: AdjustmentState.POSTED,
    ApprovalState.REJECTED: AdjustmentState.REJECTED,
}
_APPROVAL_STATUS = {state.value: status for status, state in _ADJUSTMENT_STATES.items()}


class Executors(NamedTuple):
    """The services that carry approved acts out."""

    corrections: CorrectionService
    decisions: PayoutDecisions


class ApprovalService:
    """Lists and decides approvals.

    Errors: every method raises StoreUnavailable; a decision Refused NOT_FOUND, FORBIDDEN for the
    person who proposed, WRONG_STATE where it is decided or expired, CONFLICT where the request key
    was used for another body.
    """

    def __init__(self, approvals: ApprovalStore, executors: Executors, clock: Clock) -> None:
        self._approvals = approvals
        self._corrections, self._decisions = executors
        self._clock = clock

    async def list_by_state(
        self, state: ApprovalState, page: PageRequest
    ) -> tuple[list[Answer], str | None]:
        """Approvals in a state, newest first, then adjustments in the same state; the next cursor.

        A page may be short: expired approvals are stored among the pending ones.

        Errors: Refused MALFORMED for a cursor of another list.
        """
        adjustments = _ADJUSTMENT_STATES.get(state, AdjustmentState.PENDING)
        others = [adjustment_queue_pk(adjustments, shard) for shard in range(LIST_SHARDS)]
        items, cursor = await self._approvals.list_items(state, others, page)
        views = map(self._view, items)
        return [view for view in views if view["status"] == state], cursor

    def _view(self, item: dict[str, Any]) -> Answer:
        if "approvalState" in item:
            return approval_view(read_approval(item), self._clock.now_ms())
        return self._as_approval(proposal_view(read_proposal(item)))

    def _as_approval(self, adjustment: Answer) -> Answer:
        """An adjustment in the form of an approval."""
        status = _APPROVAL_STATUS[adjustment["status"]]
        decision: Answer = {}
        if status is not ApprovalState.PENDING:
            decision = {
                "decidedBy": adjustment["checker"],
                "decidedAt": adjustment["updatedAt"],
            }
        elif self._clock.now_ms() >= adjustment["expiresAt"]:
            status = ApprovalState.EXPIRED
        return {
            "approvalId": adjustment["adjustmentId"],
            "status": status.value,
            "action": "post_adjustment",
            "resource": resource_of("adjustment", adjustment["adjustmentId"]),
            "reason": adjustment["reason"],
            "details": {"legs": adjustment["legs"]},
            "proposedBy": adjustment["maker"],
            "createdAt": adjustment["createdAt"],
            "expiresAt": adjustment["expiresAt"],
            **decision,
        }

    async def approve(self, caller: Caller, approval_id: str) -> Answer:
        """Carry a proposed act out; its effect and the decision are one transaction.

        Errors: those of the act.
        """
        if approval_id.startswith(_ADJUSTMENT_PREFIX):
            return self._as_approval(await self._corrections.approve(caller, approval_id))
        first = await self._approvals.find_answer(caller.request_key)
        if first is not None:
            return first
        approval = await self._get_for_decision(caller, approval_id)
        return await self._carry_out(caller, approval)

    async def reject(self, caller: Caller, approval_id: str, reason: str) -> Answer:
        """Close a proposed act without its effect."""
        if approval_id.startswith(_ADJUSTMENT_PREFIX):
            return self._as_approval(await self._corrections.reject(caller, approval_id))
        first = await self._approvals.find_answer(caller.request_key)
        if first is not None:
            return first
        approval = await self._get_for_decision(caller, approval_id)
        return await self._approvals.reject(caller, approval, reason)

    async def _get_for_decision(self, caller: Caller, approval_id: str) -> Approval:
        approval = await self._approvals.get(approval_id)
        if approval.proposed_by == caller.id:
            raise Refused(Refusal.FORBIDDEN, "another person than the one who proposed must agree")
        state = approval.state_at(self._clock.now_ms())
        if state is not ApprovalState.PENDING:
            raise not_pending({"approvalState": state})
        return approval

    async def _carry_out(self, caller: Caller, approval: Approval) -> Answer:
        match approval.act:
            case RefundAct() as act:
                return await self._corrections.carry_out_refund(act, caller, approval)
            case RemittanceAct() as act:
                return await self._corrections.carry_out_remittance(act, caller, approval)
            case PayoutApprovalAct() as act:
                return await self._decisions.carry_out_approval(act, caller, approval)
            case PayoutOutcomeAct() as act:
                return await self._decisions.carry_out_outcome(act, caller, approval)
            case act:
                return await self._decisions.carry_out_opening(act, caller, approval)
