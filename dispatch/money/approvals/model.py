"""Approvals: an operator's act that another person must agree to, and what becomes of it.

PENDING -> APPROVED (its effect is in the same transaction) | REJECTED; without a decision it
expires.
"""

from enum import StrEnum
from typing import Any

import msgspec

from dispatch.money.approvals.acts import (
    GateOpeningAct,
    PayoutApprovalAct,
    PayoutOutcomeAct,
    RefundAct,
    RemittanceAct,
)
from ledger.dynamodb.table import Item, Key, Put, Update, time_sort_key
from ledger.records.adjustments import PROPOSAL_TTL_MS

APPROVAL_TTL_MS = PROPOSAL_TTL_MS
# Expired and undecided approvals are shown for so long; their audit records stay.
EXPIRED_KEPT_MS = 30 * 24 * 3_600_000

# The acts that may need another person, told apart by their action.
ProposedAct = RefundAct | RemittanceAct | PayoutApprovalAct | PayoutOutcomeAct | GateOpeningAct


class ApprovalState(StrEnum):
    """State of an approval; EXPIRED is PENDING after its end, and never stored."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


class Approval(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An act as it was proposed, and its decision. Units: Unix milliseconds."""

    approval_id: str
    act: ProposedAct
    proposed_by: str
    created_at: int
    expires_at: int
    approval_state: ApprovalState = ApprovalState.PENDING
    decided_by: str | None = None
    decided_at: int | None = None
    # Why it was rejected.
    decision_reason: str | None = None

    def state_at(self, now_ms: int) -> ApprovalState:
        """The state at a moment. Units: Unix milliseconds."""
        is_over = self.approval_state is ApprovalState.PENDING and now_ms >= self.expires_at
        return ApprovalState.EXPIRED if is_over else self.approval_state


def approval_key(approval_id: str) -> Key:
    """Key of an approval's item."""
    return Key(f"APPROVAL#{approval_id}", "APPROVAL")


def approvals_pk(state: ApprovalState) -> str:
    """Partition of the approvals in a stored state, in GSI2."""
    return f"APPROVALS#{state}"


def read_approval(item: Item) -> Approval:
    """Decode an approval's item."""
    return msgspec.convert(item, Approval)


def create_approval(approval: Approval) -> Put:
    """Store a proposed act. DynamoDB: Put if absent."""
    key = approval_key(approval.approval_id)
    item: Item = {
        "PK": key.pk,
        "SK": key.sk,
        **msgspec.to_builtins(approval),
        "GSI2PK": approvals_pk(ApprovalState.PENDING),
        "GSI2SK": time_sort_key(approval.created_at, approval.approval_id),
        "ttl": (approval.expires_at + EXPIRED_KEPT_MS) // 1000,
    }
    return Put(item=item, condition="attribute_not_exists(PK)")


def decide_approval(
    approval_id: str, to: ApprovalState, by: str, now_ms: int, reason: str | None = None
) -> Update:
    """Approve or reject, by another person than the one who proposed, before it expires.

    DynamoDB: PENDING -> APPROVED | REJECTED. Units: Unix milliseconds.
    """
    return Update(
        key=approval_key(approval_id),
        expression=(
            "SET approvalState = :to, decidedBy = :by, decidedAt = :now, "
            "decisionReason = :reason, GSI2PK = :pk, GSI2SK = :sk REMOVE #ttl"
        ),
        condition="approvalState = :pending AND proposedBy <> :by AND expiresAt > :now",
        names={"#ttl": "ttl"},
        values={
            ":to": to,
            ":by": by,
            ":now": now_ms,
            ":reason": reason,
            ":pending": ApprovalState.PENDING,
            ":pk": approvals_pk(to),
            ":sk": time_sort_key(now_ms, approval_id),
        },
    )


def approval_view(approval: Approval, now_ms: int) -> dict[str, Any]:
    """An approval as operators see it. Units: Unix milliseconds."""
    act = msgspec.to_builtins(approval.act)
    action, reason = act.pop("action"), act.pop("reason", None)
    view = {
        "approvalId": approval.approval_id,
        "status": approval.state_at(now_ms).value,
        "action": action,
        "resource": approval.act.resource,
        "reason": reason or None,
        "details": act,
        "proposedBy": approval.proposed_by,
        "decidedBy": approval.decided_by,
        "decisionReason": approval.decision_reason,
        "createdAt": approval.created_at,
        "expiresAt": approval.expires_at,
        "decidedAt": approval.decided_at,
    }
    return {name: value for name, value in view.items() if value is not None}
