"""Behaviour of AWS that no local engine has: conflicts, expiring tokens, lag, lost replies."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError

from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.fake import FakeDynamo, Fault, FaultInjector, Latencies
from ledger.dynamodb.schema import ensure_table
from ledger.dynamodb.table import (
    Item,
    Key,
    Put,
    Query,
    TableUnavailable,
    TransactionCancelled,
    Update,
)
from tests import virtual_time

T = TypeVar("T")
A = Key("P", "a")
ADD = Update(key=A, expression="SET n = n + :one", values={":one": 1})
ABSENT = "attribute_not_exists(PK)"


def item(sk: str, **attributes: object) -> Item:
    return {"PK": "P", "SK": sk, **attributes}


def run_on_fake(
    scenario: Callable[[FakeDynamo, DynamoTable], Awaitable[T]],
    pace: Latencies | None = None,
    faults: FaultInjector | None = None,
) -> T:
    """Run a scenario on a table with one item, on virtual time; faults begin with it."""

    async def main() -> T:
        clock = virtual_time.clock()
        fake = FakeDynamo(clock.monotonic_s, clock.sleep, pace)
        table = DynamoTable(fake, "t")
        await ensure_table(table)
        await table.transact([Put(item=item("a", n=0))])
        fake.faults = faults or FaultInjector()
        answers = await scenario(fake, table)
        await table.wait_for_transactions()
        await fake.wait_for_transactions()
        return answers

    return virtual_time.run(main())


def code_of(error: ClientError) -> str:
    answer: Any = error.response
    return answer["Error"]["Code"]


def raw(table: DynamoTable, *sks: str) -> list[dict[str, Any]]:
    keys = [{"PK": {"S": "P"}, "SK": {"S": sk}} for sk in sks]
    return [{"Put": {"TableName": table.name, "Item": key}} for key in keys]


def test_transactions_that_meet_conflict() -> None:
    """Of two transactions that share an item one is cancelled, with a conflict at that item."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> list[object]:
        calls = (
            fake.transact_write_items(TransactItems=raw(table, *sks)) for sks in ("bc", "xc", "yz")
        )
        results = await asyncio.gather(*calls, return_exceptions=True)
        there = await table.get_many([Key("P", sk) for sk in "bcxyz"])
        errors: list[Any] = [r.response for r in results if isinstance(r, ClientError)]
        codes = [[each["Code"] for each in error["CancellationReasons"]] for error in errors]
        return [codes, [one is not None for one in there]]

    assert run_on_fake(scenario) == [
        [["None", "TransactionConflict"]],
        [True, True, False, True, True],
    ]


def test_a_read_during_a_transaction_returns_the_item_before_it() -> None:
    """GetItem during a transaction's hold reads the old item, and the new one afterwards."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> list[object]:
        write = asyncio.create_task(table.transact([ADD]))
        await virtual_time.clock().sleep(0.004)
        before = await table.get(A)
        await write
        return [before, await table.get(A)]

    assert run_on_fake(scenario) == [item("a", n=0), item("a", n=1)]


def test_conflicting_writers_all_succeed() -> None:
    """20 callers add one at the same moment, and the sum is twenty."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> tuple[object, bool]:
        await asyncio.gather(*(table.transact([ADD]) for _ in range(20)))
        return await table.get(A), table.counts.conflicts > 0

    assert run_on_fake(scenario) == (item("a", n=20), True)


def test_a_token_is_good_for_ten_minutes() -> None:
    """For ten minutes the same request changes nothing and another is refused."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> list[object]:
        seen: list[object] = []
        for wait_s in (0, 599, 1, 0):
            await virtual_time.clock().sleep(wait_s)
            await table.transact([ADD], token="t")
            seen.append((await table.get(A) or {})["n"])
        with pytest.raises(ClientError) as raised:
            await table.transact([Put(item=item("z"))], token="t")
        return [*seen, code_of(raised.value)]

    assert run_on_fake(scenario) == [1, 1, 2, 2, "IdempotentParameterMismatchException"]


def test_a_token_under_way_is_in_progress() -> None:
    """A repetition during the first transaction conflicts, is retried, and has no effect."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> list[object]:
        await asyncio.gather(*(table.transact([ADD], token="t") for _ in range(2)))
        return [await table.get(A), table.counts.conflicts > 0]

    assert run_on_fake(scenario) == [item("a", n=1), True]


def test_a_cancelled_transaction_leaves_its_token_free() -> None:
    """A cancelled transaction may be repeated under the same token."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> object:
        guarded = [
            Put(item=item("b"), condition=ABSENT),
            Put(item=item("a"), condition="n = :o", values={":o": 1}),
        ]
        with pytest.raises(TransactionCancelled):
            await table.transact(guarded, token="t")
        await table.transact([ADD])
        await table.transact(guarded, token="t")
        return await table.get(Key("P", "b"))

    assert run_on_fake(scenario) == item("b")


def test_an_index_is_behind_its_table() -> None:
    """A write appears in an index after its lag, in its last state."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> list[object]:
        query = Query(pk="G", index="GSI1")
        seen: list[object] = []
        for n in range(20):
            await table.transact([Put(item=item("a", n=n, GSI1PK="G", GSI1SK=str(n % 3)))])
        seen.append(len((await table.query(query)).items) <= 1)
        await virtual_time.clock().sleep(2)
        seen.append((await table.query(query)).items)
        await table.transact([Put(item=item("a", n=99))])
        seen.append(len((await table.query(query)).items))
        await virtual_time.clock().sleep(2)
        return [*seen, (await table.query(query)).items]

    last = item("a", n=19, GSI1PK="G", GSI1SK="1")
    assert run_on_fake(scenario, Latencies(index_lag_s=2.0)) == [True, [last], 1, []]


@pytest.mark.parametrize("fault", [f for f in Fault if f is not Fault.PARTIAL_BATCH])
def test_each_fault_is_retried_with_one_effect(fault: Fault) -> None:
    """A fault in three attempts leads to one effect at the fourth."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> list[object]:
        await table.transact([ADD])
        return [fake.faults.counts[fault], await table.get(A)]

    script: dict[int, Fault] = {1: fault, 2: fault, 3: fault}
    happened, after = run_on_fake(scenario, Latencies(delay_s=0.5), FaultInjector(scripted=script))
    assert (happened in (1, 3), after) == (True, item("a", n=1))


def test_a_partial_batch_is_completed() -> None:
    """The keys that a batch leaves unprocessed are read again."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> list[object]:
        await table.transact([Put(item=item(sk)) for sk in "bcd"])
        fake.faults.scripted = dict.fromkeys(range(fake.faults.calls + 1, 9), Fault.PARTIAL_BATCH)
        found = await table.get_many([Key("P", sk) for sk in "dcb"])
        return [*found, fake.faults.counts[Fault.PARTIAL_BATCH]]

    assert run_on_fake(scenario) == [item("d"), item("c"), item("b"), 2]


def test_an_unreachable_engine_is_given_up_at_the_deadline() -> None:
    """With every request lost the call raises after five seconds."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> float:
        start_s = virtual_time.clock().monotonic_s()
        with pytest.raises(TableUnavailable):
            await table.get(A)
        return round(virtual_time.clock().monotonic_s() - start_s, 3)

    assert run_on_fake(scenario, faults=FaultInjector(rates={Fault.LOSE_REQUEST: 1.0})) == 5.0


def test_a_request_that_arrived_outlives_its_caller() -> None:
    """A request is executed if its caller is cancelled after sending it, and not before."""

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> list[object]:
        seen: list[object] = []
        for left_s in (0.002, 0.004):
            call = fake.transact_write_items(TransactItems=raw(table, "b"))
            task = asyncio.ensure_future(call)
            await virtual_time.clock().sleep(left_s)
            task.cancel()
            await fake.wait_for_transactions()
            seen.append(await table.get(Key("P", "b")))
        return seen

    assert run_on_fake(scenario) == [None, item("b")]


def test_a_caller_crashes_at_the_scripted_await() -> None:
    """The third await of a write is its reply: the caller crashes, the write is stored."""

    class Crash(Exception):
        pass

    async def scenario(fake: FakeDynamo, table: DynamoTable) -> object:
        fake.faults.crash_at_await, fake.faults.crash_error = 3, Crash()
        with pytest.raises(Crash):
            await table.transact([ADD])
        return await table.get(A)

    assert run_on_fake(scenario) == item("a", n=1)


def test_the_same_seed_gives_the_same_run() -> None:
    """Two runs with one seed agree on every count and moment; another seed differs."""

    def run_with(seed: int) -> list[object]:
        async def scenario(fake: FakeDynamo, table: DynamoTable) -> list[object]:
            calls = (
                fake.transact_write_items(TransactItems=raw(table, sk)) for sk in "bcdefgh" * 9
            )
            results = await asyncio.gather(*calls, return_exceptions=True)
            lost = [isinstance(result, ConnectionClosedError) for result in results]
            return [lost, dict(fake.faults.counts), virtual_time.clock().monotonic_s()]

        rates = {Fault.LOSE_REPLY: 0.2, Fault.CONFLICT: 0.2, Fault.DELAY: 0.1}
        return run_on_fake(scenario, Latencies(spread=0.5), FaultInjector(seed, rates))

    assert run_with(1) == run_with(1)
    assert run_with(1) != run_with(2)
