"""Approval store: proposals, rejections and lists."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.money.approvals.acts import RemittanceAct
from dispatch.money.approvals.model import APPROVAL_TTL_MS, Approval, ApprovalState
from dispatch.storage.paging import PageRequest
from tests.dispatch.money.conftest import MoneyScenario, operator

pytestmark = pytest.mark.engines

ACT = RemittanceAct(rider_id="rdr_1", remittance_id="rem_1", amount=60_000, desk="cashdesk")


async def proposed(money: MoneyScenario) -> Approval:
    """An act that the first operator proposed."""
    answer = await money.proposals.propose(operator(1), ACT)
    return await money.approval_store.get(answer["approvalId"])


async def test_an_unknown_approval_is_not_found(money: MoneyScenario):
    """An id that was never given has nothing behind it."""
    with pytest.raises(Refused) as raised:
        await money.approval_store.get("apr_none")
    assert raised.value.code is Refusal.NOT_FOUND


async def test_a_rejection_is_recorded_once(money: MoneyScenario):
    """It has who and why; a second one finds it decided."""
    approval = await proposed(money)
    answer = await money.approval_store.reject(operator(2), approval, "wrong rider")
    with pytest.raises(Refused) as raised:
        await money.approval_store.reject(operator(3), approval, "me too")
    assert (answer["status"], answer["decidedBy"], answer["decisionReason"]) == (
        "REJECTED",
        "adm_2",
        "wrong rider",
    )
    assert raised.value.code is Refusal.WRONG_STATE
    assert (await money.audited())[1:] == [
        ("adm_2", "reject_record_remittance_proposal", "rider:rdr_1")
    ]


@pytest.mark.parametrize(
    ("number", "age_ms"), [(1, 0), (2, APPROVAL_TTL_MS)], ids=["own", "expired"]
)
async def test_the_store_refuses_what_the_service_would(
    money: MoneyScenario, number: int, age_ms: int
):
    """One's own proposal, and one that has expired, are refused by the write's condition."""
    approval = await proposed(money)
    money.clock.advance(age_ms)
    with pytest.raises(Refused) as raised:
        await money.approval_store.reject(operator(number), approval, "no")
    assert raised.value.code is Refusal.WRONG_STATE


async def test_a_decided_approval_changes_its_list(money: MoneyScenario):
    """It leaves the pending ones and is among those of its decision."""
    approval = await proposed(money)
    await money.approval_store.reject(operator(2), approval, "no")
    page = PageRequest(10)
    pending, _ = await money.approval_store.list_items(ApprovalState.PENDING, [], page)
    rejected, _ = await money.approval_store.list_items(ApprovalState.REJECTED, [], page)
    assert (pending, [item["approvalId"] for item in rejected]) == ([], [approval.approval_id])
