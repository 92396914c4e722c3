"""Adjustments on a real engine: proposed by one person, decided by another."""

import pytest

from ledger.core.facts import Adjustment, AdjustmentLeg
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Query, TransactionCancelled
from ledger.records.adjustments import (
    AdjustmentProposal,
    AdjustmentState,
    adjustment_key,
    adjustment_queue_pk,
    create_proposal,
    decide_proposal,
    read_proposal,
)

LEGS = (AdjustmentLeg("VENDOR#v", 70), AdjustmentLeg("PLATFORM#LOSS.0", -70))
PROPOSAL = AdjustmentProposal(
    adjustment_id="a1", corrections=LEGS, reason="lost", maker="adm_1", created_at=1, updated_at=1
)


def test_an_approved_proposal_is_a_fact() -> None:
    """The fact has the legs, the reason and both people."""
    assert PROPOSAL.to_fact("adm_2") == Adjustment("a1", LEGS, "lost", "adm_1", "adm_2")


def test_legs_that_do_not_balance_are_not_stored() -> None:
    """A proposal that could not become an entry raises before it is written."""
    unbalanced = AdjustmentProposal(
        adjustment_id="a1",
        corrections=LEGS[:1],
        reason="lost",
        maker="adm_1",
        created_at=1,
        updated_at=1,
    )
    with pytest.raises(ValueError, match="sum to 70"):
        create_proposal(unbalanced)


@pytest.mark.engines
async def test_a_proposal_is_decided_once_by_another_person(table: DynamoTable) -> None:
    """The maker cannot decide; the first other person can, the second cannot."""
    await table.transact([create_proposal(PROPOSAL)])
    decisions = [
        decide_proposal(PROPOSAL, AdjustmentState.POSTED, "adm_1", 2),
        decide_proposal(PROPOSAL, AdjustmentState.REJECTED, "adm_2", 3),
        decide_proposal(PROPOSAL, AdjustmentState.POSTED, "adm_3", 4),
    ]
    cancelled: list[int] = []
    for number, decision in enumerate(decisions):
        try:
            await table.transact([decision])
        except TransactionCancelled:
            cancelled.append(number)
    item = await table.get(adjustment_key("a1"))
    assert item is not None
    decided = read_proposal(item)
    assert cancelled == [0, 2]
    assert (decided.adjustment_state, decided.checker) == (AdjustmentState.REJECTED, "adm_2")


@pytest.mark.engines
async def test_proposals_are_listed_by_state(table: DynamoTable) -> None:
    """A decided proposal moves from one list to the other."""
    put = create_proposal(PROPOSAL)
    await table.transact([put])
    shard = int(put.item["GSI2PK"].rpartition("#")[2])

    async def listed(state: AdjustmentState) -> int:
        query = Query(pk=adjustment_queue_pk(state, shard), index="GSI2")
        return len((await table.query(query)).items)

    assert await listed(AdjustmentState.PENDING) == 1
    await table.transact([decide_proposal(PROPOSAL, AdjustmentState.POSTED, "adm_2", 2)])
    assert await listed(AdjustmentState.PENDING) == 0
    assert await listed(AdjustmentState.POSTED) == 1
