"""Status of wallets on a real engine."""

import pytest

from ledger.core.accounts import balance_key
from ledger.core.facts import TopUp
from ledger.dynamodb.table import TransactionCancelled
from ledger.records.wallet_status import set_wallet_status
from ledger.records.wallets import ACTIVE, CLOSED, FROZEN
from tests.ledger.scenarios.ledger_setup import Books

pytestmark = pytest.mark.engines

USER = "USER#u"


async def test_a_wallet_is_frozen_and_unfrozen(books: Books) -> None:
    """The status changes and the balance does not."""
    await books.ledger.post(TopUp("u", 500, "sandbox", "p1"))
    for status in (FROZEN, ACTIVE):
        await books.table.transact([set_wallet_status(USER, status, 5)])
        details = await books.statements.wallet_details("USER", "u")
        assert (details["status"], details["posted"]) == (status, 500)


async def test_a_wallet_may_be_frozen_before_its_first_use(books: Books) -> None:
    """An unused wallet is created frozen, and still receives money."""
    await books.table.transact([set_wallet_status(USER, FROZEN, 5)])
    await books.ledger.post(TopUp("u", 500, "sandbox", "p1"))
    details = await books.statements.wallet_details("USER", "u")
    assert (details["status"], details["posted"], details["lines"]) == (FROZEN, 500, 1)


async def test_only_an_empty_wallet_is_closed(books: Books) -> None:
    """A wallet with money stays open; an unused one is closed."""
    await books.ledger.post(TopUp("u", 500, "sandbox", "p1"))
    with pytest.raises(TransactionCancelled):
        await books.table.transact([set_wallet_status(USER, CLOSED, 5)])
    await books.table.transact([set_wallet_status("USER#new", CLOSED, 5)])
    item = await books.table.get(balance_key("USER#new"))
    assert item is not None
    assert item["status"] == CLOSED
