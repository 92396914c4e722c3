"""The payout store moves payouts from state to state, lists them, and holds the gate."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.money.approvals.proposals import keep_answer
from dispatch.money.payouts.store import STATUSES, payout_view
from dispatch.storage.paging import PageRequest
from ledger.core.accounts import LIST_SHARDS
from ledger.records.payouts import PayoutState
from tests.dispatch.money.conftest import AMOUNT_XAF, MoneyScenario, operator

pytestmark = pytest.mark.engines

FIRST_PAGE = PageRequest(limit=10)


async def test_an_unknown_payout_is_not_found(money: MoneyScenario):
    """Reading a payout that does not exist is refused."""
    with pytest.raises(Refused) as raised:
        await money.payout_store.get("pout_unknown")
    assert raised.value.code is Refusal.NOT_FOUND


async def test_a_payout_is_in_the_lists_of_its_owner_and_state(money: MoneyScenario):
    """Lists by owner, by status and of the sweep have it, and those of another state have not."""
    payout = await money.requested_payout()
    by_owner, cursor = await money.payout_store.list_by_owner("VENDOR", "ven_1", FIRST_PAGE)
    pending, _ = await money.payout_store.list_by_status("PENDING", FIRST_PAGE)
    paid, _ = await money.payout_store.list_by_status("PAID", FIRST_PAGE)
    swept = [
        each.payout_id
        for shard in range(LIST_SHARDS)
        for each in await money.payout_store.list_oldest(PayoutState.REQUESTED, shard)
    ]
    assert (by_owner, cursor) == ([payout], None)
    assert pending == [payout]
    assert paid == []
    assert swept == [payout.payout_id]


async def test_submitting_gives_the_provider_reference(money: MoneyScenario):
    """The reference is stored with the step; a second submission finds another state."""
    payout = await money.requested_payout()
    await money.payout_store.approve(payout, "adm_1", keep_answer(operator()))
    submitted = await money.payout_store.submit(payout.payout_id)
    with pytest.raises(Refused) as raised:
        await money.payout_store.submit(payout.payout_id)
    assert submitted.payout_state is PayoutState.SUBMITTED
    assert submitted.provider_ref is not None
    assert raised.value.code is Refusal.WRONG_STATE


async def test_riders_with_cash_are_listed_with_what_they_owe(money: MoneyScenario):
    """A rider that has collected cash is in the list, with the amount and since when."""
    await money.settled_order(method="CASH")
    owed = (await money.statements.owner_balance("RIDER", "rdr_1")).cash_in_hand
    [entry], _ = await money.payout_store.list_riders_with_cash(FIRST_PAGE)
    assert (entry["riderId"], entry["owed"], entry["onTheWay"]) == ("rdr_1", owed, 0)
    assert entry["since"] <= money.clock.now_ms()


async def test_a_view_leaves_unknown_fields_out(money: MoneyScenario):
    """A requested payout is PENDING, and has no provider reference or approver."""
    view = payout_view(await money.requested_payout())
    assert (view["status"], view["amount"]) == ("PENDING", AMOUNT_XAF)
    assert view.keys().isdisjoint({"approvedBy", "providerReference", "reason"})
    assert view["status"] in STATUSES
