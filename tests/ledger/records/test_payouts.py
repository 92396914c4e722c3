"""Payouts on a real engine: each step once, from the right state, by the right person."""

import msgspec
import pytest

from ledger.core.accounts import balance_key
from ledger.core.facts import PayoutPaid, PayoutPaidLate, PayoutReturned
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Item, Put, TransactionCancelled, Write
from ledger.records.payouts import (
    PAYOUT_STOP_KEY,
    Payout,
    PayoutState,
    approve_payout,
    end_unpaid_payout,
    mark_paid,
    mark_paid_late,
    mark_returned,
    payout_key,
    provider_reference,
    read_payout,
    request_payout,
    submit_payout,
)
from ledger.records.wallets import Balance, balance_item

PAYOUT = Payout(
    payout_id="p1",
    owner_type="RIDER",
    owner_id="r",
    amount=600,
    destination="+237 670",
    provider="momo",
    requested_by="r",
    created_at=1,
    updated_at=1,
)
PAID = PayoutPaid("p1", "RIDER", "r", 600, "momo", fee=5)


async def attempt(table: DynamoTable, *writes: Write) -> bool:
    try:
        await table.transact(writes)
    except TransactionCancelled:
        return False
    return True


async def wallet_with(table: DynamoTable, available: int, cash: int = 0) -> None:
    wallet = Balance(account="RIDER#r", posted=available, available=available, v=1)
    owed = Balance(account="RIDERCASH#r", posted=-cash, v=1)
    await table.transact([Put(item=balance_item(each)) for each in (wallet, owed)])


async def item_of(table: DynamoTable, account: str = "RIDER#r") -> Item:
    item = await table.get(balance_key(account))
    assert item is not None
    return item


def test_the_reference_of_a_payout_is_stable() -> None:
    """One payout has one reference at its provider, another payout another."""
    assert provider_reference("p1") == provider_reference("p1") != provider_reference("p2")


@pytest.mark.engines
async def test_a_payout_is_paid_step_by_step(table: DynamoTable) -> None:
    """Requested, approved, submitted, paid and returned, a payout records each step."""
    await wallet_with(table, 1_000)
    steps = [
        request_payout(PAYOUT, 1).writes,
        approve_payout(PAYOUT, "adm_1", 2).writes,
        submit_payout("p1", 3).writes,
        (mark_paid(PAID, 4),),
        (mark_returned(PayoutReturned("p1", "RIDER", "r", 600, "momo", "unknown"), 5),),
    ]
    for writes in steps:
        assert await attempt(table, *writes)
    stored = await table.get(payout_key("p1"))
    assert stored is not None
    payout = read_payout(stored)
    assert payout.payout_state is PayoutState.RETURNED
    assert (payout.approved_by, payout.provider_ref) == ("adm_1", provider_reference("p1"))
    assert (payout.fee, payout.reason, payout.submitted_at) == (5, "unknown", 3)


@pytest.mark.engines
async def test_a_request_holds_its_amount(table: DynamoTable) -> None:
    """The amount moves from available to held; a second payout above the rest is refused."""
    await wallet_with(table, 1_000)
    assert await attempt(table, *request_payout(PAYOUT, 1).writes)
    wallet = await item_of(table)
    assert (wallet["available"], wallet["held"]) == (400, 600)
    second = msgspec.structs.replace(PAYOUT, payout_id="p2")
    assert not await attempt(table, *request_payout(second, 2).writes)


@pytest.mark.engines
async def test_a_rider_with_cash_cannot_request(table: DynamoTable) -> None:
    """Unremitted cash refuses a rider's payout with its code."""
    await wallet_with(table, 1_000, cash=1)
    request = request_payout(PAYOUT, 1)
    with pytest.raises(TransactionCancelled) as raised:
        await table.transact(request.writes)
    assert [request.codes[i] for i in raised.value.failed_positions()] == ["cash_owed"]


@pytest.mark.engines
async def test_the_requester_cannot_approve(table: DynamoTable) -> None:
    """Another person than the requester approves, once."""
    await wallet_with(table, 1_000)
    await table.transact(request_payout(PAYOUT, 1).writes)
    assert not await attempt(table, *approve_payout(PAYOUT, "r", 2).writes)
    assert await attempt(table, *approve_payout(PAYOUT, "adm_1", 2).writes)
    assert not await attempt(table, *approve_payout(PAYOUT, "adm_2", 3).writes)


@pytest.mark.engines
async def test_a_payout_of_an_owner_in_debt_is_not_approved(table: DynamoTable) -> None:
    """A debt refuses the approval with its code; a repaid one does not."""
    await wallet_with(table, 1_000)
    await table.transact(request_payout(PAYOUT, 1).writes)
    approval = approve_payout(PAYOUT, "adm_1", 2)
    debt = Balance(account="RECEIVABLE#RIDER.r", posted=-1, v=1)
    await table.transact([Put(item=balance_item(debt))])
    with pytest.raises(TransactionCancelled) as raised:
        await table.transact(approval.writes)
    assert [approval.codes[i] for i in raised.value.failed_positions()] == ["debt_owed"]
    repaid = msgspec.structs.replace(debt, posted=0)
    await table.transact([Put(item=balance_item(repaid))])
    assert await attempt(table, *approval.writes)


@pytest.mark.engines
async def test_only_a_failed_payout_is_paid_late(table: DynamoTable) -> None:
    """It is PAID afterwards, with a mark; one that was never failed is refused."""
    await wallet_with(table, 1_000)
    late = PayoutPaidLate("p1", "RIDER", "r", 600, "momo", fee=5)
    await table.transact(request_payout(PAYOUT, 1).writes)
    await table.transact(approve_payout(PAYOUT, "adm_1", 2).writes)
    await table.transact(submit_payout("p1", 3).writes)
    assert not await attempt(table, mark_paid_late(late, 4))
    await table.transact(end_unpaid_payout(PAYOUT, PayoutState.FAILED, "gone", 4).writes)
    wrong = msgspec.structs.replace(late, amount=601)
    assert not await attempt(table, mark_paid_late(wrong, 5))
    assert await attempt(table, mark_paid_late(late, 5))
    stored = await table.get(payout_key("p1"))
    assert stored is not None
    payout = read_payout(stored)
    assert (payout.payout_state, payout.is_paid_late, payout.fee) == (PayoutState.PAID, True, 5)


@pytest.mark.engines
async def test_stopped_payouts_are_neither_approved_nor_submitted(table: DynamoTable) -> None:
    """While payouts are stopped both steps are refused with their code."""
    await wallet_with(table, 1_000)
    await table.transact(request_payout(PAYOUT, 1).writes)
    stop = {"PK": PAYOUT_STOP_KEY.pk, "SK": PAYOUT_STOP_KEY.sk, "stopped": True}
    await table.transact([Put(item=stop)])
    approval = approve_payout(PAYOUT, "adm_1", 2)
    with pytest.raises(TransactionCancelled) as raised:
        await table.transact(approval.writes)
    assert [approval.codes[i] for i in raised.value.failed_positions()] == ["payouts_stopped"]
    await table.transact([Put(item={**stop, "stopped": False})])
    assert await attempt(table, *approval.writes)
    await table.transact([Put(item=stop)])
    assert not await attempt(table, *submit_payout("p1", 3).writes)


@pytest.mark.engines
async def test_an_unpaid_payout_releases_its_hold(table: DynamoTable) -> None:
    """A rejected payout's amount is available again, once."""
    await wallet_with(table, 1_000)
    await table.transact(request_payout(PAYOUT, 1).writes)
    rejection = end_unpaid_payout(PAYOUT, PayoutState.REJECTED, "unknown", 2)
    assert await attempt(table, *rejection.writes)
    assert not await attempt(table, *rejection.writes)
    wallet = await item_of(table)
    assert (wallet["available"], wallet["held"]) == (1_000, 0)


@pytest.mark.engines
@pytest.mark.parametrize(
    "wrong",
    [
        PayoutPaid("p1", "RIDER", "r", 601, "momo"),
        PayoutPaid("p1", "RIDER", "other", 600, "momo"),
        PayoutPaid("p1", "VENDOR", "r", 600, "momo"),
    ],
)
async def test_only_what_was_requested_is_paid(table: DynamoTable, wrong: PayoutPaid) -> None:
    """Another amount, owner or type than the request's is refused."""
    await wallet_with(table, 1_000)
    await table.transact(request_payout(PAYOUT, 1).writes)
    await table.transact(approve_payout(PAYOUT, "adm_1", 2).writes)
    await table.transact(submit_payout("p1", 3).writes)
    assert not await attempt(table, mark_paid(wrong, 4))
    assert await attempt(table, mark_paid(PAID, 4))
