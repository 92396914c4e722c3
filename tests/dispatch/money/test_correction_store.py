"""The correction store posts once for each request, and keeps proposals and wallet states."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.money.idempotent_store import KeptRequest
from dispatch.storage.paging import PageRequest
from ledger.core.facts import AdjustmentLeg, Remittance
from ledger.records.adjustments import AdjustmentProposal, AdjustmentState
from tests.dispatch.money.conftest import MoneyScenario, key, operator

pytestmark = pytest.mark.engines

FIRST_PAGE = PageRequest(limit=10)
# When the clock of the scenario starts.
NOW_MS = 1_763_000_000_000
LEGS = (AdjustmentLeg("VENDOR#ven_1", 700), AdjustmentLeg("CLEARING#BANK.0", -700))


def proposal(legs: tuple[AdjustmentLeg, ...] = LEGS) -> AdjustmentProposal:
    return AdjustmentProposal(
        adjustment_id="adj_1",
        corrections=legs,
        reason="forgotten",
        maker="adm_1",
        created_at=NOW_MS,
        updated_at=NOW_MS,
    )


async def test_a_repeated_posting_gets_the_first_answer(money: MoneyScenario):
    """With the same request key the fact is posted once, whatever the second answer would be."""
    await money.settled_order(method="CASH")
    owed = (await money.statements.owner_balance("RIDER", "rdr_1")).cash_in_hand
    for number in (1, 2):
        fact = Remittance("rdr_1", f"rem_{number}", 1_000, "cashdesk")
        answer = await money.correction_store.post(
            fact, KeptRequest(answer={"n": number}, request_key=key("a"))
        )
        assert answer == {"n": 1}
    after = (await money.statements.owner_balance("RIDER", "rdr_1")).cash_in_hand
    assert after == owed - 1_000


async def test_a_proposal_is_listed_until_it_is_decided(money: MoneyScenario):
    """It moves from the pending list to that of its decision."""
    await money.correction_store.create_proposal(proposal(), None)
    stored = await money.correction_store.get_proposal("adj_1")
    pending, _ = await money.correction_store.list_proposals(AdjustmentState.PENDING, FIRST_PAGE)
    await money.correction_store.reject_proposal(stored, "adm_2", None)
    after, _ = await money.correction_store.list_proposals(AdjustmentState.PENDING, FIRST_PAGE)
    rejected, _ = await money.correction_store.list_proposals(AdjustmentState.REJECTED, FIRST_PAGE)
    assert (stored, pending, after) == (proposal(), [proposal()], [])
    assert [each.checker for each in rejected] == ["adm_2"]


async def test_an_approved_proposal_is_posted_once(money: MoneyScenario):
    """The wallet has the amount; a second decision finds it decided."""
    await money.correction_store.create_proposal(proposal(), None)
    answer = await money.correction_store.approve_proposal(proposal(), "adm_2", key("yes"))
    again = await money.correction_store.approve_proposal(proposal(), "adm_2", key("yes"))
    with pytest.raises(Refused) as raised:
        await money.correction_store.reject_proposal(proposal(), "adm_3", None)
    assert answer == again
    assert answer["status"] == "POSTED"
    assert raised.value.code is Refusal.WRONG_STATE
    assert await money.wallet("VENDOR", "ven_1") == (700, 0)


async def test_a_proposal_that_could_not_become_an_entry_is_a_value_error(money: MoneyScenario):
    """Legs that do not sum to zero are not written down."""
    with pytest.raises(ValueError, match="legs sum to 700"):
        await money.correction_store.create_proposal(proposal(LEGS[:1]), None)
    with pytest.raises(Refused) as raised:
        await money.correction_store.get_proposal("adj_1")
    assert raised.value.code is Refusal.NOT_FOUND


async def test_only_an_empty_wallet_can_be_closed(money: MoneyScenario):
    """A wallet with a balance is refused, an unused one is closed."""
    with pytest.raises(Refused) as raised:
        await money.correction_store.set_wallet_status(operator(), "USER#usr_1", "CLOSED", "left")
    answer = await money.correction_store.set_wallet_status(
        operator(), "USER#usr_2", "CLOSED", "left"
    )
    assert raised.value.code is Refusal.WRONG_STATE
    assert answer == {"account": "USER#usr_2", "status": "CLOSED", "reason": "left"}
    assert (await money.statements.wallet_details("USER", "usr_2"))["status"] == "CLOSED"
