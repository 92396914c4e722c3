"""Proposals: which amounts need another person, and what an act's transaction keeps."""

import pytest

from dispatch.money.approvals.acts import RemittanceAct
from dispatch.money.approvals.proposals import keep_answer
from tests.dispatch.money.conftest import MoneyScenario, customer, operator

pytestmark = pytest.mark.engines

ACT = RemittanceAct(rider_id="rdr_1", remittance_id="rem_1", amount=60_000, desk="cashdesk")


@pytest.mark.parametrize(
    ("above_xaf", "amount", "needs_two"),
    [(50_000, 50_000, False), (50_000, 50_001, True), (0, 1, True)],
)
async def test_amounts_above_the_limit_need_two(
    money: MoneyScenario, above_xaf: int, amount: int, needs_two: bool
):
    """The limit itself needs one person."""
    money.limit_xaf(above_xaf)
    assert money.proposals.needs_two(amount) is needs_two


async def test_a_repeated_proposal_is_one(money: MoneyScenario):
    """The same request gets the same approval, and leaves one audit record."""
    first = await money.proposals.propose(operator(1, "a"), ACT)
    again = await money.proposals.propose(operator(1, "a"), ACT)
    assert again == first
    assert await money.audited() == [("adm_1", "propose_record_remittance", "rider:rdr_1")]


async def test_an_act_of_one_person_keeps_its_record(money: MoneyScenario):
    """Without an approval the record has the one name, and no decision is written."""
    kept = money.proposals.keep(operator(1, "a"), ACT, None)({"done": True})
    assert kept.act is not None
    assert (kept.answer, kept.act.actor, kept.decision) == ({"done": True}, "adm_1", None)


async def test_an_act_of_two_keeps_both_names_and_the_decision(money: MoneyScenario):
    """The record's actor is who approved; who proposed is in its details."""
    proposed = await money.proposals.propose(operator(1), ACT)
    approval = await money.approval_store.get(proposed["approvalId"])
    kept = money.proposals.keep(operator(2), ACT, approval)({"done": True})
    assert kept.act is not None
    assert kept.act.actor == "adm_2"
    assert kept.act.details["proposedBy"] == "adm_1"
    assert kept.answer["result"] == {"done": True}
    assert kept.decision is not None


def test_a_request_of_a_party_leaves_no_record():
    """Only operators' acts are audited."""
    kept = keep_answer(customer("a"))({"done": True})
    assert (kept.act, kept.decision) == (None, None)
