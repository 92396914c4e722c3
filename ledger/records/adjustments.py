"""Adjustments: corrections of the books that one person proposes and another approves."""

from enum import StrEnum

import msgspec

from ledger.core.accounts import list_shard_of
from ledger.core.entry_planning import plan_entry
from ledger.core.facts import Adjustment, AdjustmentLeg, adjustment_pk
from ledger.core.order_funds import IF_ABSENT
from ledger.dynamodb.table import (
    Item,
    Key,
    Put,
    Update,
    time_sort_key,
)

ADJUSTMENT_QUEUE = "ADJUSTMENT_QUEUE"
# How long a proposal waits for another person. Source: chosen; the next working day, and no
# proposal is forgotten and then approved.
PROPOSAL_TTL_MS = 24 * 3_600_000


class AdjustmentState(StrEnum):
    """State of an adjustment."""

    PENDING = "PENDING"
    POSTED = "POSTED"
    REJECTED = "REJECTED"


class AdjustmentProposal(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An adjustment as proposed, and its decision. Units: whole XAF, Unix milliseconds."""

    adjustment_id: str
    corrections: tuple[AdjustmentLeg, ...]
    reason: str
    maker: str
    created_at: int
    updated_at: int
    adjustment_state: AdjustmentState = AdjustmentState.PENDING
    checker: str | None = None

    @property
    def expires_at(self) -> int:
        """Until when it can be approved. Units: Unix milliseconds."""
        return self.created_at + PROPOSAL_TTL_MS

    def to_fact(self, checker: str) -> Adjustment:
        """The fact to post once `checker` has approved it."""
        return Adjustment(self.adjustment_id, self.corrections, self.reason, self.maker, checker)


def adjustment_key(adjustment_id: str) -> Key:
    """Key of an adjustment's REQUEST item; its entry has the same partition."""
    return Key(adjustment_pk(adjustment_id), "REQUEST")


def read_proposal(item: Item) -> AdjustmentProposal:
    """Decode a REQUEST item."""
    return msgspec.convert(item, AdjustmentProposal)


def adjustment_queue_pk(state: AdjustmentState, shard: int) -> str:
    """Partition of one shard of the list of adjustments in this state, in GSI2."""
    return f"{ADJUSTMENT_QUEUE}#{state}#{shard}"


def create_proposal(proposal: AdjustmentProposal) -> Put:
    """Store a proposed adjustment. DynamoDB: Put REQUEST if absent. Units: whole XAF.

    Errors: ValueError for corrections that do not form an entry.
    """
    plan_entry(proposal.to_fact(checker=""), None, 0)
    key = adjustment_key(proposal.adjustment_id)
    item: Item = {
        "PK": key.pk,
        "SK": key.sk,
        **msgspec.to_builtins(proposal),
        **_queue_keys(proposal.adjustment_id, proposal.adjustment_state, proposal.created_at),
    }
    return Put(item=item, condition=IF_ABSENT)


def decide_proposal(
    proposal: AdjustmentProposal, to: AdjustmentState, checker: str, now_ms: int
) -> Update:
    """Approve or reject an adjustment, by another person than its maker, before it expires.

    DynamoDB: PENDING → POSTED | REJECTED. Units: Unix milliseconds.
    """
    queue_keys = _queue_keys(proposal.adjustment_id, to, now_ms)
    return Update(
        key=adjustment_key(proposal.adjustment_id),
        expression=(
            "SET adjustmentState = :to, checker = :by, updatedAt = :now, GSI2PK = :pk, GSI2SK = :sk"
        ),
        condition="adjustmentState = :pending AND maker <> :by AND createdAt > :oldest",
        values={
            ":to": to,
            ":pending": AdjustmentState.PENDING,
            ":by": checker,
            ":oldest": now_ms - PROPOSAL_TTL_MS,
            ":now": now_ms,
            ":pk": queue_keys["GSI2PK"],
            ":sk": queue_keys["GSI2SK"],
        },
    )


def _queue_keys(adjustment_id: str, state: AdjustmentState, now_ms: int) -> dict[str, str]:
    return {
        "GSI2PK": adjustment_queue_pk(state, list_shard_of(adjustment_id)),
        "GSI2SK": time_sort_key(now_ms, adjustment_id),
    }
