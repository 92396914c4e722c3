"""Approval store: proposed acts, their decisions and their lists, in DynamoDB."""

from collections.abc import Sequence

import msgspec

from dispatch.events.audit_records import OperatorAct
from dispatch.money.approvals.acts import audited
from dispatch.money.approvals.model import (
    Approval,
    ApprovalState,
    approval_key,
    approval_view,
    approvals_pk,
    create_approval,
    decide_approval,
    read_approval,
)
from dispatch.money.idempotent_store import (
    Answer,
    IdempotentStore,
    KeptRequest,
    WriteConflict,
    not_pending,
)
from dispatch.orders.unit_of_work import Caller
from dispatch.storage.paging import PageRequest
from dispatch.storage.sharded_list import ListShard, query_shards
from ledger.dynamodb.table import Item


class ApprovalStore(IdempotentStore):
    """Writes proposed acts down, and lists them by state; their effects are written elsewhere.

    Errors: every method raises StoreUnavailable; a write Refused CONFLICT where its request key
    was used for another body.
    """

    async def create(self, caller: Caller, approval: Approval) -> Answer:
        """Store a proposed act, with its audit record.

        DynamoDB: one transaction, Put APPROVAL if absent.
        """
        record = _with_approval(audited(approval.act, caller.id), approval)
        act = msgspec.structs.replace(record, action=f"propose_{record.action}")
        answer = approval_view(approval, approval.created_at)
        kept = KeptRequest(answer=answer, request_key=caller.request_key, act=act)
        try:
            return await self._transact([create_approval(approval)], kept)
        except WriteConflict as conflict:
            raise AssertionError("the id of a new approval is unique") from conflict

    async def get(self, approval_id: str) -> Approval:
        """One approval, consistently read.

        Errors: Refused NOT_FOUND.
        DynamoDB: GetItem.
        """
        return read_approval(
            await self._get_known(approval_key(approval_id), f"approval {approval_id}")
        )

    async def reject(self, caller: Caller, approval: Approval, reason: str) -> Answer:
        """Close a pending approval without its effect, with an audit record.

        Errors: Refused WRONG_STATE where it is decided or expired by now.
        DynamoDB: one transaction, PENDING -> REJECTED.
        """
        now_ms = self._clock.now_ms()
        rejected = decided(approval, ApprovalState.REJECTED, caller.id, now_ms, reason)
        record = _with_approval(audited(approval.act, caller.id), approval)
        act = msgspec.structs.replace(
            record, action=f"reject_{record.action}_proposal", reason=reason or None
        )
        answer = approval_view(rejected, now_ms)
        kept = KeptRequest(answer=answer, request_key=caller.request_key, act=act)
        write = decide_approval(
            approval.approval_id, ApprovalState.REJECTED, caller.id, now_ms, reason or None
        )
        try:
            return await self._transact([write], kept)
        except WriteConflict as conflict:
            raise not_pending(conflict.item) from conflict

    async def list_items(
        self, state: ApprovalState, other_pks: Sequence[str], page: PageRequest
    ) -> tuple[list[Item], str | None]:
        """Items of approvals in a state, newest first, then those of other queues of GSI2.

        Expired approvals are among the pending ones.

        Errors: Refused MALFORMED for a cursor of another list.
        DynamoDB: Query of GSI2, one partition after the other until the page is full.
        """
        stored = ApprovalState.PENDING if state is ApprovalState.EXPIRED else state
        places = [ListShard(pk, "GSI2", forward=False) for pk in (approvals_pk(stored), *other_pks)]
        return await query_shards(self._table, places, page)


def keep_approved(caller: Caller, approval: Approval, answer: Answer, now_ms: int) -> KeptRequest:
    """What the transaction of an approved act keeps: decision, answer, and both names.

    Units: Unix milliseconds.
    """
    approved = decided(approval, ApprovalState.APPROVED, caller.id, now_ms)
    return KeptRequest(
        answer={**approval_view(approved, now_ms), "result": answer},
        request_key=caller.request_key,
        act=_with_approval(audited(approval.act, caller.id), approval),
        decision=decide_approval(approval.approval_id, ApprovalState.APPROVED, caller.id, now_ms),
    )


def decided(
    approval: Approval, to: ApprovalState, by: str, now_ms: int, reason: str = ""
) -> Approval:
    """The approval after its decision. Units: Unix milliseconds."""
    return msgspec.structs.replace(
        approval,
        approval_state=to,
        decided_by=by,
        decided_at=now_ms,
        decision_reason=reason or None,
    )


def _with_approval(act: OperatorAct, approval: Approval) -> OperatorAct:
    names = {"approvalId": approval.approval_id, "proposedBy": approval.proposed_by}
    return msgspec.structs.replace(act, details={**act.details, **names})
