"""Transactions: the write whose condition fails says what the failure means, wherever it stands."""

from collections.abc import Sequence
from typing import cast

import pytest

from dispatch.errors import Refusal, Refused, StoreUnavailable
from dispatch.orders.ledger_facts import capture_of
from dispatch.orders.transaction import ConditionalWrite, OrderTransactions, StaleOrder
from ledger.core.facts import TopUp
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import Item, Key, Put, Table, TableUnavailable, Write
from ledger.posting.ledger import Ledger
from tests.factories import an_order

NOW_MS = 1_000_000


class NotWritten(Exception):
    """The error of one write, with the item that was found instead."""

    def __init__(self, name: str, found: Item | None) -> None:
        super().__init__(name)
        self.name = name
        self.found = found


def new_item(name: str) -> ConditionalWrite:
    """A new item, with an error of its own where it exists."""
    write = Put(item={"PK": name, "SK": "S"}, condition="attribute_not_exists(PK)")
    return ConditionalWrite(write, lambda found: NotWritten(name, found))


@pytest.mark.engines
@pytest.mark.parametrize("existing", ["a", "b", "c"])
@pytest.mark.parametrize("has_fact", [False, True], ids=["table", "ledger"])
async def test_each_write_has_its_own_error(table: DynamoTable, existing: str, has_fact: bool):
    """Also where the ledger adds its own writes to the transaction; then nothing is written."""
    transactions = OrderTransactions(table, Ledger(table, lambda: NOW_MS))
    await transactions.commit([new_item(existing)])
    fact = TopUp("usr_1", 500, "sandbox", "pay_1") if has_fact else None
    with pytest.raises(NotWritten) as failed:
        await transactions.commit([new_item(name) for name in ("a", "b", "c")], fact)
    written = await table.get_many([Key(name, "S") for name in ("a", "b", "c")])

    assert failed.value.name == existing
    assert [item["PK"] for item in written if item] == [existing]


@pytest.mark.engines
async def test_a_fact_that_was_posted_before_means_a_stale_order(table: DynamoTable):
    """Another caller has posted it with its own write of the order."""
    transactions = OrderTransactions(table, Ledger(table, lambda: NOW_MS))
    fact = TopUp("usr_1", 500, "sandbox", "pay_1")
    await transactions.commit([new_item("a")], fact)

    with pytest.raises(StaleOrder):
        await transactions.commit([new_item("b")], fact)
    assert await table.get(Key("b", "S")) is None


class UnavailableTable:
    """A table that does not answer."""

    async def transact(self, _writes: Sequence[Write]) -> None:
        """Fail."""
        raise TableUnavailable("throttled")


async def test_an_unavailable_table_is_a_retryable_error():
    """The caller may repeat the request."""
    table = cast("Table", UnavailableTable())
    transactions = OrderTransactions(table, Ledger(table, lambda: NOW_MS))

    with pytest.raises(StoreUnavailable):
        await transactions.commit([new_item("a")])


@pytest.mark.engines
async def test_a_refusal_of_the_ledger_has_a_code_of_the_contract(table: DynamoTable):
    """A wallet without money refuses the capture."""
    transactions = OrderTransactions(table, Ledger(table, lambda: NOW_MS))
    with pytest.raises(Refused) as refused:
        await transactions.commit([new_item("a")], capture_of(an_order()))

    assert refused.value.code is Refusal.INSUFFICIENT_FUNDS
