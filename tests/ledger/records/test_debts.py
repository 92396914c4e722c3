"""Debts of wallet owners: the check passes for those who owe nothing."""

import pytest

from ledger.core.facts import Adjustment, AdjustmentLeg, Netting, TopUp
from ledger.dynamodb.table import TransactionCancelled
from ledger.records.debts import check_no_debt, debt_of
from tests.ledger.scenarios.ledger_setup import Books

pytestmark = pytest.mark.engines


async def owe(books: Books, amount: int) -> None:
    """Have the customer owe an amount to the bank."""
    legs = (AdjustmentLeg("RECEIVABLE#USER.u", -amount), AdjustmentLeg("CLEARING#BANK.0", amount))
    await books.ledger.post(Adjustment("a1", legs, "a cancelled order", "adm_1", "adm_2"))


async def test_a_debtor_fails_the_check_until_the_debt_is_paid(books: Books) -> None:
    """The item that failed it has the amount; other owners pass."""
    await books.table.transact([check_no_debt("USER", "u")])
    await owe(books, 700)
    with pytest.raises(TransactionCancelled) as cancelled:
        await books.table.transact([check_no_debt("USER", "u")])
    assert debt_of(cancelled.value.reasons[0].item) == 700
    await books.table.transact([check_no_debt("USER", "v"), check_no_debt("RIDER", "u")])

    await books.ledger.post(TopUp("u", 1_000, "sandbox", "p1"))
    await books.ledger.post(Netting("net-p1", "USER", "u", cash=0, debt=700))
    await books.table.transact([check_no_debt("USER", "u")])
    assert (await books.statements.balance("USER", "u"))["availableBalance"] == 300


def test_no_item_is_no_debt() -> None:
    """Most owners never owed anything."""
    assert debt_of(None) == 0
