"""Approval service: another person approves, once, and exactly what was proposed is done."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.money.approvals.model import APPROVAL_TTL_MS, ApprovalState
from dispatch.money.idempotent_store import Answer
from dispatch.storage.paging import PageRequest
from dispatch.wire.http.admin_money import (
    AdjustmentBody,
    AdjustmentLegBody,
    PayoutGate,
    RefundBody,
    RemittanceBody,
)
from tests.dispatch.money.conftest import EARNED_XAF, MoneyScenario, operator

pytestmark = pytest.mark.engines


async def propose_refund(money: MoneyScenario) -> Answer:
    """A refund of 1,000 of a settled order."""
    order_id = await money.settled_order()
    body = RefundBody(amount=1_000, reason="cold")
    return await money.corrections.refund(operator(1), order_id, body)


async def propose_remittance(money: MoneyScenario) -> Answer:
    """A remittance of 1,000 of a rider's cash."""
    await money.settled_order(method="CASH")
    return await money.corrections.record_remittance(
        operator(1), "rdr_1", RemittanceBody(amount=1_000)
    )


async def propose_payout(money: MoneyScenario) -> Answer:
    """The approval of a requested payout."""
    payout = await money.requested_payout()
    return await money.payouts.decisions.approve(operator(1), payout.payout_id)


async def propose_opening(money: MoneyScenario) -> Answer:
    """Letting payouts continue that were stopped."""
    await money.payouts.decisions.set_gate(operator(1), PayoutGate(stopped=True, reason="break"))
    change = PayoutGate(stopped=False, reason="fixed")
    return await money.payouts.decisions.set_gate(operator(1), change)


async def propose_adjustment(money: MoneyScenario) -> Answer:
    """An adjustment in the vendor's favour."""
    legs = [
        AdjustmentLegBody(account="VENDOR#ven_1", amount=700),
        AdjustmentLegBody(account="CLEARING#BANK.0", amount=-700),
    ]
    return await money.corrections.propose(operator(1), AdjustmentBody(legs=legs, reason="lost"))


Proposing = Callable[[MoneyScenario], Awaitable[Answer]]
PROPOSALS: list[Proposing] = [
    propose_refund,
    propose_remittance,
    propose_payout,
    propose_opening,
    propose_adjustment,
]


@pytest.fixture
def strict(money: MoneyScenario) -> MoneyScenario:
    """Services that ask for two people for every amount."""
    money.limit_xaf(0)
    return money


async def refusal(deciding: Awaitable[Answer]) -> Refusal:
    """The code with which a decision is refused."""
    with pytest.raises(Refused) as raised:
        await deciding
    return raised.value.code


@pytest.mark.parametrize("propose", PROPOSALS)
async def test_another_person_carries_the_act_out_once(strict: MoneyScenario, propose: Proposing):
    """The first one may not; ten decisions at once have one effect; both names are kept."""
    proposed = await propose(strict)
    approval_id = proposed["approvalId"]
    assert await refusal(strict.approvals.approve(operator(1), approval_id)) is Refusal.FORBIDDEN
    assert await refusal(strict.approvals.reject(operator(1), approval_id, "")) is (
        Refusal.FORBIDDEN
    )
    results = await asyncio.gather(
        *(strict.approvals.approve(operator(number), approval_id) for number in range(2, 12)),
        return_exceptions=True,
    )
    done = [each for each in results if isinstance(each, dict)]
    codes = {each.code for each in results if isinstance(each, Refused)}

    assert [each["status"] for each in done] == ["APPROVED"]
    assert codes <= {Refusal.WRONG_STATE, Refusal.CONFLICT}
    assert (done[0]["proposedBy"], done[0]["decidedBy"] != "adm_1") == ("adm_1", True)
    acts = [actor for actor, _, _ in await strict.audited()]
    assert acts.count(done[0]["decidedBy"]) == 1
    assert set(acts) == {"adm_1", done[0]["decidedBy"]}
    assert (await strict.statements.trial_balance())["total"] == 0


@pytest.mark.parametrize("propose", PROPOSALS)
async def test_a_repeated_approval_gets_the_first_answer(strict: MoneyScenario, propose: Proposing):
    """The same request of the same operator has one effect and one answer."""
    approval_id = (await propose(strict))["approvalId"]
    first = await strict.approvals.approve(operator(2, "yes"), approval_id)
    again = await strict.approvals.approve(operator(2, "yes"), approval_id)
    assert again == first
    assert [actor for actor, _, _ in await strict.audited()].count("adm_2") == 1


@pytest.mark.parametrize("propose", PROPOSALS)
async def test_a_rejected_act_has_no_effect(strict: MoneyScenario, propose: Proposing):
    """It cannot be approved afterwards."""
    approval_id = (await propose(strict))["approvalId"]
    answer = await strict.approvals.reject(operator(2), approval_id, "not this one")
    assert (answer["status"], answer["decidedBy"]) == ("REJECTED", "adm_2")
    assert await refusal(strict.approvals.approve(operator(3), approval_id)) in (
        Refusal.WRONG_STATE,
        Refusal.CONFLICT,
    )


@pytest.mark.parametrize("propose", PROPOSALS)
async def test_a_day_later_nothing_can_be_approved(strict: MoneyScenario, propose: Proposing):
    """An expired act has no effect, and is listed as expired."""
    approval_id = (await propose(strict))["approvalId"]
    strict.clock.advance(APPROVAL_TTL_MS)
    assert await refusal(strict.approvals.approve(operator(2), approval_id)) is Refusal.WRONG_STATE
    assert await listed(strict, ApprovalState.PENDING) == []
    assert await listed(strict, ApprovalState.EXPIRED) == [approval_id]


async def listed(money: MoneyScenario, state: ApprovalState, limit: int = 3) -> list[str]:
    """The ids of all approvals in a state, page by page."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page, cursor = await money.approvals.list_by_state(state, PageRequest(limit, cursor))
        found += [each["approvalId"] for each in page]
        if cursor is None:
            return found


async def test_what_waits_is_listed_in_pages(strict: MoneyScenario):
    """Acts and adjustments are in one list until they are decided."""
    ids = [(await propose(strict))["approvalId"] for propose in PROPOSALS]
    assert sorted(await listed(strict, ApprovalState.PENDING, limit=2)) == sorted(ids)
    for each in ids[:2] + ids[-1:]:
        await strict.approvals.approve(operator(2), each)
    await strict.approvals.reject(operator(2), ids[3], "no")
    assert await listed(strict, ApprovalState.PENDING) == [ids[2]]
    assert sorted(await listed(strict, ApprovalState.APPROVED)) == sorted(ids[:2] + ids[-1:])
    assert await listed(strict, ApprovalState.REJECTED) == [ids[3]]


async def test_the_effect_is_what_was_proposed(strict: MoneyScenario):
    """The refund that is approved is posted with the id and amount of the proposal."""
    proposed = await propose_refund(strict)
    before, _ = await strict.wallet("USER", "usr_1")
    answer = await strict.approvals.approve(operator(2), proposed["approvalId"])
    after, _ = await strict.wallet("USER", "usr_1")
    assert answer["result"]["refundId"] == proposed["details"]["refundId"]
    assert (answer["result"]["amount"], after - before) == (1_000, 1_000)


async def test_an_effect_that_is_refused_leaves_the_act_pending(strict: MoneyScenario):
    """A payout that cannot be approved while payouts are stopped can be later."""
    proposed = await propose_payout(strict)
    opening = await propose_opening(strict)
    approval_id = proposed["approvalId"]
    assert await refusal(strict.approvals.approve(operator(2), approval_id)) is Refusal.CONFLICT
    assert approval_id in await listed(strict, ApprovalState.PENDING)
    await strict.approvals.approve(operator(2), opening["approvalId"])
    answer = await strict.approvals.approve(operator(2), approval_id)
    assert answer["result"]["status"] == "APPROVED"


async def test_refunds_of_one_order_count_together(money: MoneyScenario):
    """The limit cannot be passed in small steps."""
    money.limit_xaf(1_500)
    order_id = await money.settled_order()
    body = RefundBody(amount=1_000, reason="cold")
    first = await money.corrections.refund(operator(1), order_id, body)
    second = await money.corrections.refund(operator(1), order_id, body)
    assert ("refundId" in first, second.get("status")) == (True, "PENDING")


async def test_a_wallet_that_was_paid_out_meanwhile_is_not_paid_twice(strict: MoneyScenario):
    """Two proposals for one payout have one effect."""
    payout = await strict.requested_payout()
    decisions = strict.payouts.decisions
    first = await decisions.approve(operator(1), payout.payout_id)
    second = await decisions.approve(operator(2), payout.payout_id)
    await strict.approvals.approve(operator(3), first["approvalId"])
    assert await refusal(strict.approvals.approve(operator(3), second["approvalId"])) is (
        Refusal.WRONG_STATE
    )
    assert (await strict.wallet("VENDOR", "ven_1"))[0] == EARNED_XAF - payout.amount
