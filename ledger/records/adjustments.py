"""Corrections of the books: written down by one person, agreed to by another, only then posted."""

from enum import StrEnum

import msgspec

from ledger.core.accounts import list_shard_of
from ledger.core.facts import Adjustment, AdjustmentLeg, adjustment_pk
from ledger.core.order_funds import IF_ABSENT
from ledger.core.entry_planning import plan_entry
from ledger.dynamodb.table import (
    Item,
    Key,
    Put,
    Update,
    time_sort_key,
)

ADJUSTMENT_QUEUE = "ADJUSTMENT_QUEUE"


class AdjustmentState(StrEnum):
    """Where an adjustment stands."""

    PENDING = "PENDING"
    POSTED = "POSTED"
    REJECTED = "REJECTED"


class AdjustmentProposal(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An adjustment as its maker wrote it, and what came of it. Units: whole XAF, Unix ms."""

    adjustment_id: str
    corrections: tuple[AdjustmentLeg, ...]
    reason: str
    maker: str
    created_at: int
    updated_at: int
    adjustment_state: AdjustmentState = AdjustmentState.PENDING
    checker: str | None = None

    def to_fact(self, checker: str) -> Adjustment:
        """The fact, once another person agrees."""
        return Adjustment(self.adjustment_id, self.corrections, self.reason, self.maker, checker)


def adjustment_key(adjustment_id: str) -> Key:
    """Where an adjustment is kept; its entry stands beside it."""
    return Key(adjustment_pk(adjustment_id), "REQUEST")


def read_proposal(item: Item) -> AdjustmentProposal:
    """Decode a REQUEST item."""
    return msgspec.convert(item, AdjustmentProposal)


def adjustment_queue_pk(state: AdjustmentState, shard: int) -> str:
    """One shard of the list of adjustments that stand so."""
    return f"{ADJUSTMENT_QUEUE}#{state}#{shard}"


def create_proposal(proposal: AdjustmentProposal) -> Put:
    """Write an adjustment down. DynamoDB: Put REQUEST if absent.

    Errors: ValueError for corrections that could not become an entry.
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
    """Another person than the maker agrees or not. DynamoDB: PENDING → POSTED | REJECTED."""
    listed = _queue_keys(proposal.adjustment_id, to, now_ms)
    return Update(
        key=adjustment_key(proposal.adjustment_id),
        expression=(
            "SET adjustmentState = :to, checker = :by, updatedAt = :now, GSI2PK = :pk, GSI2SK = :sk"
        ),
        condition="adjustmentState = :pending AND maker <> :by",
        values={
            ":to": to,
            ":pending": AdjustmentState.PENDING,
            ":by": checker,
            ":now": now_ms,
            ":pk": listed["GSI2PK"],
            ":sk": listed["GSI2SK"],
        },
    )


def _queue_keys(adjustment_id: str, state: AdjustmentState, now_ms: int) -> dict[str, str]:
    return {
        "GSI2PK": adjustment_queue_pk(state, list_shard_of(adjustment_id)),
        "GSI2SK": time_sort_key(now_ms, adjustment_id),
    }
