"""Corrections of the books: written down by one person, agreed to by another, only then posted."""

from enum import StrEnum

import msgspec

from ledger.core.accounts import shard_of
from ledger.core.facts import Adjustment, Correction, adjustment_pk
from ledger.core.order_funds import ABSENT
from ledger.core.plan import plan
from ledger.dynamodb.table import (
    Item,
    Key,
    Put,
    Update,
    in_time,
)

QUEUE = "ADJQ"


class AdjustmentState(StrEnum):
    """Where an adjustment stands."""

    PENDING = "PENDING"
    POSTED = "POSTED"
    REJECTED = "REJECTED"


class Proposal(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An adjustment as its maker wrote it, and what came of it. Units: whole XAF, Unix ms."""

    adjustment_id: str
    corrections: tuple[Correction, ...]
    reason: str
    maker: str
    created_at: int
    updated_at: int
    astate: AdjustmentState = AdjustmentState.PENDING
    checker: str | None = None

    def agreed(self, checker: str) -> Adjustment:
        """The fact, once another person agrees."""
        return Adjustment(self.adjustment_id, self.corrections, self.reason, self.maker, checker)


def adjustment_key(adjustment_id: str) -> Key:
    """Where an adjustment is kept; its entry stands beside it."""
    return Key(adjustment_pk(adjustment_id), "REQUEST")


def read_proposal(item: Item) -> Proposal:
    """Decode a REQUEST item."""
    return msgspec.convert(item, Proposal)


def queue_pk(state: AdjustmentState, shard: int) -> str:
    """One shard of the list of adjustments that stand so."""
    return f"{QUEUE}#{state}#{shard}"


def propose(proposal: Proposal) -> Put:
    """Write an adjustment down. DynamoDB: Put REQUEST if absent.

    Errors: ValueError for corrections that could not become an entry.
    """
    plan(proposal.agreed(checker=""), None, 0)
    key = adjustment_key(proposal.adjustment_id)
    item: Item = {
        "PK": key.pk,
        "SK": key.sk,
        **msgspec.to_builtins(proposal),
        **_queued(proposal.adjustment_id, proposal.astate, proposal.created_at),
    }
    return Put(item=item, condition=ABSENT)


def decide(proposal: Proposal, to: AdjustmentState, checker: str, now_ms: int) -> Update:
    """Another person than the maker agrees or not. DynamoDB: PENDING → POSTED | REJECTED."""
    listed = _queued(proposal.adjustment_id, to, now_ms)
    return Update(
        key=adjustment_key(proposal.adjustment_id),
        expression=(
            "SET astate = :to, checker = :by, updatedAt = :now, GSI2PK = :pk, GSI2SK = :sk"
        ),
        condition="astate = :pending AND maker <> :by",
        values={
            ":to": to,
            ":pending": AdjustmentState.PENDING,
            ":by": checker,
            ":now": now_ms,
            ":pk": listed["GSI2PK"],
            ":sk": listed["GSI2SK"],
        },
    )


def _queued(adjustment_id: str, state: AdjustmentState, now_ms: int) -> dict[str, str]:
    return {
        "GSI2PK": queue_pk(state, shard_of(adjustment_id)),
        "GSI2SK": in_time(now_ms, adjustment_id),
    }
