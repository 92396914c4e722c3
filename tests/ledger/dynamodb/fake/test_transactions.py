"""Transactions of the fake: locks, tokens and atomicity."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from ledger.dynamodb.fake.errors import InvalidRequest
from ledger.dynamodb.fake.storage import FakeTable
from ledger.dynamodb.fake.transactions import TOKEN_S, DelaySource, Transactions
from ledger.dynamodb.schema import TABLE_DEFINITION
from tests import virtual_time


def run(scenario: Callable[[FakeTable, Transactions], Awaitable[None]]) -> None:
    """Run a scenario with transactions that are held for a second, on virtual time."""

    async def main() -> None:
        clock = virtual_time.clock()
        table = FakeTable(TABLE_DEFINITION, clock.monotonic_s)
        delays = DelaySource(lambda: 1.0, lambda: 0.0)
        await scenario(table, Transactions({"t": table}, clock.monotonic_s, clock.sleep, delays))

    virtual_time.run(main())


def put(sk: str, **more: Any) -> dict[str, Any]:
    item = {"PK": {"S": "P"}, "SK": {"S": sk}}
    return {"Put": {"TableName": "t", "Item": item, **more}}


def code_of(error: ClientError) -> str:
    answer: Any = error.response
    return answer["Error"]["Code"]


def test_a_transaction_is_whole_or_nothing() -> None:
    """One failed condition leaves all items as they were."""

    async def scenario(table: FakeTable, transactions: Transactions) -> None:
        failing = put("b", ConditionExpression="attribute_exists(PK)")
        with pytest.raises(ClientError) as raised:
            await transactions.write({"TransactItems": [put("a"), failing]})
        assert code_of(raised.value) == "TransactionCanceledException"
        assert table.items == {}
        await transactions.write({"TransactItems": [put("a"), put("b")]})
        assert [sk for _, sk in table.items] == ["a", "b"]

    run(scenario)


def test_items_are_locked_while_a_transaction_is_held() -> None:
    """A second transaction on the item conflicts until the first is committed."""

    async def scenario(table: FakeTable, transactions: Transactions) -> None:
        first = asyncio.ensure_future(transactions.write({"TransactItems": [put("a")]}))
        await virtual_time.clock().sleep(0.5)
        assert table.items == {}
        with pytest.raises(ClientError, match="TransactionConflict"):
            await transactions.write({"TransactItems": [put("a")]})
        await first
        await transactions.write({"TransactItems": [put("a")]})

    run(scenario)


def test_a_token_makes_repetitions_one() -> None:
    """A repetition within ten minutes does nothing; another body under the token is refused."""

    async def scenario(table: FakeTable, transactions: Transactions) -> None:
        request = {"TransactItems": [put("a")], "ClientRequestToken": "token"}
        await transactions.write(request)
        table.put(("P", "a"), None, 0.0)
        await transactions.write(request)
        assert table.items == {}
        with pytest.raises(ClientError) as raised:
            await transactions.write({**request, "TransactItems": [put("b")]})
        assert code_of(raised.value) == "IdempotentParameterMismatchException"
        await virtual_time.clock().sleep(TOKEN_S)
        await transactions.write(request)
        assert [sk for _, sk in table.items] == ["a"]

    run(scenario)


@pytest.mark.parametrize(
    "wrong",
    [
        {"TransactItems": []},
        {"TransactItems": [put("a"), put("a")]},
        {"TransactItems": [put(f"{n}") for n in range(101)]},
        {"TransactItems": [put("a")], "ClientRequestToken": "x" * 37},
        {"TransactItems": [put("a")], "ReturnConsumedCapacity": "TOTAL"},
    ],
)
def test_wrong_transactions_are_refused(wrong: dict[str, Any]) -> None:
    """Too few or many writes, two of one item, a long token and other parameters raise."""

    async def scenario(table: FakeTable, transactions: Transactions) -> None:
        with pytest.raises(InvalidRequest):
            await transactions.write(wrong)
        assert table.items == {}

    run(scenario)
