"""The table on a real engine, and through a proxy that loses, refuses and delays calls."""

import asyncio
import gc
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import msgspec
import orjson
import pytest
from aiohttp import web

from ledger.dynamodb.client import DynamoTable, TableLimits, open_table
from ledger.dynamodb.table import (
    Check,
    Delete,
    Item,
    Key,
    Put,
    Query,
    TableUnavailable,
    TransactionCancelled,
    Update,
)

pytestmark = [pytest.mark.engines, pytest.mark.dynamodb_engine]

REGION = "eu-west-1"
ABSENT = "attribute_not_exists(PK)"
ADD = "SET n = n + :one"
ONE = {":one": 1}

ProxyFault = Callable[[web.Request, bytes], Awaitable[web.StreamResponse]]


class FaultyProxy:
    """A proxy to the engine: its faults happen in order, then everything is forwarded."""

    def __init__(self, endpoint: str, session: aiohttp.ClientSession) -> None:
        self._endpoint = endpoint
        self._session = session
        self.faults: deque[ProxyFault] = deque(maxlen=1000)
        self.requests: list[bytes] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(body)
        fault = self.faults.popleft() if self.faults else self.forward
        return await fault(request, body)

    async def forward(self, request: web.Request, body: bytes) -> web.StreamResponse:
        headers = {k: v for k, v in request.headers.items() if k.lower() != "host"}
        async with self._session.post(self._endpoint, data=body, headers=headers) as answer:
            return web.Response(
                body=await answer.read(),
                status=answer.status,
                content_type="application/x-amz-json-1.0",
            )

    async def lose_request(self, request: web.Request, body: bytes) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async def lose_reply(self, request: web.Request, body: bytes) -> web.StreamResponse:
        await self.forward(request, body)
        return await self.lose_request(request, body)

    def error(self, code: str, *reasons: str) -> ProxyFault:
        async def fault(request: web.Request, body: bytes) -> web.StreamResponse:
            answer: dict[str, object] = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}"}
            answer["CancellationReasons"] = [{"Code": reason} for reason in reasons]
            status = 500 if code == "InternalServerError" else 400
            return web.Response(
                body=orjson.dumps(answer), status=status, content_type="application/x-amz-json-1.0"
            )

        return fault


@asynccontextmanager
async def faulty_proxy(
    endpoint: str, table: DynamoTable
) -> AsyncIterator[tuple[FaultyProxy, DynamoTable]]:
    """The same table through a faulty proxy."""
    async with aiohttp.ClientSession() as session:
        proxy = FaultyProxy(endpoint, session)
        app = web.Application()
        app.router.add_post("/", proxy.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with open_table(f"http://127.0.0.1:{port}", REGION, table.name) as through:
            yield proxy, through
        await runner.cleanup()


def item(sk: str, **attributes: object) -> Item:
    return {"PK": "P", "SK": sk, **attributes}


async def test_an_item_round_trips(table: DynamoTable) -> None:
    """Integers stay integers, floats floats, bytes bytes; None at the top is left out."""
    kept = item(
        "a",
        big=10**30,
        small=-7,
        share=0.1,
        tiny=1e-7,
        raw=b"\x00\xff",
        yes=True,
        text="Douála",
        nested={"list": [1, "two", None, {"three": 3.5}], "empty": {}},
    )
    await table.transact([Put(item={**kept, "gone": None})])
    assert await table.get(Key("P", "a")) == kept


async def test_a_missing_item_is_none(table: DynamoTable) -> None:
    """A missing item is None, in its place among those that exist."""
    await table.transact([Put(item=item("b"))])
    keys = [Key("P", "x"), Key("P", "b"), Key("P", "b")]
    assert await table.get(keys[0]) is None
    assert await table.get_many(keys) == [None, item("b"), item("b")]
    assert await table.get_many([]) == []


async def test_many_items_are_fetched_beyond_one_batch(table: DynamoTable) -> None:
    """250 keys take three calls and come back in order."""
    items = [item(f"{i:03d}", n=i) for i in range(250)]
    for start in range(0, 250, 100):
        await table.transact([Put(item=i) for i in items[start : start + 100]])
    keys = [Key("P", i["SK"]) for i in reversed(items)]
    calls = table.counts.calls
    assert await table.get_many(keys) == items[::-1]
    assert table.counts.calls == calls + 3


async def test_a_failed_condition_cancels_all_and_returns_the_item(table: DynamoTable) -> None:
    """Reasons are in the order of the writes, with the items found; nothing is written."""
    await table.transact([Put(item=item("a", n=1)), Put(item=item("b", n=2))])
    with pytest.raises(TransactionCancelled) as raised:
        await table.transact(
            [
                Put(item=item("c")),
                Update(key=Key("P", "a"), expression=ADD, condition="n > :one", values=ONE),
                Put(item=item("b"), condition=ABSENT),
                Check(key=Key("P", "z"), condition="attribute_exists(PK)"),
            ]
        )
    assert raised.value.failed_positions() == [1, 2, 3]
    assert [reason.item for reason in raised.value.reasons] == [
        None,
        item("a", n=1),
        item("b", n=2),
        None,
    ]
    assert await table.get(Key("P", "c")) is None
    assert table.counts.cancelled == 1


async def test_updates_deletes_and_checks_go_together(table: DynamoTable) -> None:
    """Put, Update, Delete and Check work in one transaction."""
    await table.transact([Put(item=item(sk, n=1)) for sk in "abc"])
    await table.transact(
        [
            Update(key=Key("P", "a"), expression=ADD, values=ONE),
            Delete(key=Key("P", "b"), condition="n = :one", values=ONE),
            Check(key=Key("P", "c"), condition="#n = :one", names={"#n": "n"}, values=ONE),
        ]
    )
    assert await table.get_many([Key("P", "a"), Key("P", "b")]) == [item("a", n=2), None]


async def test_the_same_change_made_twice_happens_twice(table: DynamoTable) -> None:
    """Two calls with equal bodies are two changes; with one token they are one."""
    await table.transact([Put(item=item("a", n=0))])
    add = [Update(key=Key("P", "a"), expression=ADD, values=ONE)]
    await table.transact(add)
    await table.transact(add)
    assert await table.get(Key("P", "a")) == item("a", n=2)
    token = uuid.uuid4().hex
    await table.transact(add, token)
    await table.transact(add, token)
    assert await table.get(Key("P", "a")) == item("a", n=3)


async def test_a_lost_reply_is_repeated_without_a_second_effect(
    table: DynamoTable, dynamodb_endpoint: str
) -> None:
    """After a lost reply the retry has the same body and no second effect."""
    await table.transact([Put(item=item("a", n=0))])
    async with faulty_proxy(dynamodb_endpoint, table) as (proxy, through):
        proxy.faults.extend([proxy.lose_reply, proxy.lose_request])
        await through.transact([Update(key=Key("P", "a"), expression=ADD, values=ONE)])
        assert len(proxy.requests) == 3
        assert len(set(proxy.requests)) == 1
        assert (through.counts.attempts, through.counts.unanswered) == (3, 2)
    assert await table.get(Key("P", "a")) == item("a", n=1)


async def test_conflicts_throttling_and_server_errors_are_retried(
    table: DynamoTable, dynamodb_endpoint: str
) -> None:
    """Temporary errors are retried and counted by their kind."""
    async with faulty_proxy(dynamodb_endpoint, table) as (proxy, through):
        proxy.faults.extend(
            [
                proxy.error("TransactionCanceledException", "None", "TransactionConflict"),
                proxy.error("TransactionInProgressException"),
                proxy.error("TransactionCanceledException", "ThrottlingError"),
                proxy.error("ProvisionedThroughputExceededException"),
                proxy.error("InternalServerError"),
            ]
        )
        await through.transact([Put(item=item("a")), Put(item=item("b"))])
        counts = through.counts
    assert (counts.conflicts, counts.throttled, counts.unanswered) == (2, 2, 1)
    assert (counts.calls, counts.attempts) == (1, 6)
    assert await table.get(Key("P", "b")) == item("b")


async def test_an_unprocessed_batch_is_asked_for_again(
    table: DynamoTable, dynamodb_endpoint: str
) -> None:
    """The keys that a batch leaves unprocessed are read again."""
    await table.transact([Put(item=item("a")), Put(item=item("b"))])

    async def half(request: web.Request, body: bytes) -> web.StreamResponse:
        asked = orjson.loads(body)["RequestItems"][table.name]
        later = {**asked, "Keys": asked["Keys"][1:]}
        first = {table.name: [asked["Keys"][0]]}
        answer = orjson.dumps({"Responses": first, "UnprocessedKeys": {table.name: later}})
        return web.Response(body=answer, content_type="application/x-amz-json-1.0")

    async with faulty_proxy(dynamodb_endpoint, table) as (proxy, through):
        proxy.faults.append(half)
        keys = [Key("P", "a"), Key("P", "b")]
        assert await through.get_many(keys) == [item("a"), item("b")]
        assert (len(proxy.requests), through.counts.throttled) == (2, 1)


async def test_an_unreachable_engine_is_table_unavailable(
    table: DynamoTable, dynamodb_endpoint: str
) -> None:
    """After the deadline the call raises TableUnavailable, and nothing was written."""
    limits = TableLimits(deadline_s=0.3)
    async with faulty_proxy(dynamodb_endpoint, table) as (proxy, opened):
        through = DynamoTable(opened.client, table.name, limits)
        proxy.faults.extend([proxy.lose_request] * 1000)
        with pytest.raises(TableUnavailable):
            await through.transact([Put(item=item("a"))])
        assert through.counts.given_up == 1
        proxy.faults.clear()
    assert await table.get(Key("P", "a")) is None


async def test_a_missing_table_is_unavailable_at_once(dynamodb_endpoint: str) -> None:
    """A missing table is reported after one attempt."""
    async with open_table(dynamodb_endpoint, REGION, f"no-{uuid.uuid4().hex}") as nothing:
        with pytest.raises(TableUnavailable, match="ResourceNotFound"):
            await nothing.get(Key("P", "a"))
        assert nothing.counts.attempts == 1


async def test_a_cancelled_caller_does_not_stop_the_transaction(
    table: DynamoTable, dynamodb_endpoint: str
) -> None:
    """A transaction ends although its caller was cancelled; the table waits for it."""
    arrived, go = asyncio.Event(), asyncio.Event()
    async with faulty_proxy(dynamodb_endpoint, table) as (proxy, through):

        async def hold(request: web.Request, body: bytes) -> web.StreamResponse:
            arrived.set()
            await go.wait()
            return await proxy.forward(request, body)

        proxy.faults.append(hold)
        caller = asyncio.create_task(through.transact([Put(item=item("a"))]))
        await arrived.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        go.set()
        await through.wait_for_transactions()
    assert await table.get(Key("P", "a")) == item("a")


async def walk(table: DynamoTable, query: Query) -> list[list[int]]:
    """The `n` of every page."""
    page = await table.query(query)
    pages = [[found["n"] for found in page.items]]
    while page.cursor is not None:
        page = await table.query(msgspec.structs.replace(query, cursor=page.cursor))
        pages.append([found["n"] for found in page.items])
    return pages


async def fill(table: DynamoTable, count: int) -> None:
    """Items N#00.. in partition P and, by GSI2, in partition G in the opposite order."""
    await table.transact(
        [
            Put(item=item(f"N#{i:02d}", n=i, odd=i % 2, GSI2PK="G", GSI2SK=f"S#{count - i:02d}"))
            for i in range(count)
        ]
    )
    await table.transact([Put(item=item("OTHER", n=-1)), Put(item={"PK": "Q", "SK": "N#1"})])


async def test_a_query_pages_through_a_partition(table: DynamoTable) -> None:
    """Pages are full, in order, and end without an empty one."""
    await fill(table, 6)
    assert await walk(table, Query(pk="P", prefix="N#", limit=3)) == [[0, 1, 2], [3, 4, 5]]
    backward = Query(pk="P", prefix="N#", limit=4, forward=False)
    assert await walk(table, backward) == [[5, 4, 3, 2], [1, 0]]
    assert await walk(table, Query(pk="P", limit=50)) == [[0, 1, 2, 3, 4, 5, -1]]
    assert await walk(table, Query(pk="nobody")) == [[]]


async def test_a_query_pages_through_an_index(table: DynamoTable) -> None:
    """An index has its own order and its own cursors."""
    await fill(table, 5)
    query = Query(pk="G", prefix="S#", index="GSI2", limit=2)
    assert await walk(table, query) == [[4, 3], [2, 1], [0]]


async def test_a_filter_still_fills_the_page(table: DynamoTable) -> None:
    """With `equals` each page has `limit` matches, however many items lie between them."""
    await fill(table, 20)
    small = DynamoTable(table.client, table.name, TableLimits(filter_page_items=3))
    query = Query(pk="P", prefix="N#", limit=4, equals={"odd": 1})
    assert await walk(small, query) == [[1, 3, 5, 7], [9, 11, 13, 15], [17, 19]]


async def test_one_of_twenty_writers_wins(table: DynamoTable) -> None:
    """Of 20 writers of one item that must be absent one succeeds; the 19 others get that item."""
    puts = [Put(item=item("one", n=i), condition=ABSENT) for i in range(20)]
    results = await asyncio.gather(*(table.transact([put]) for put in puts), return_exceptions=True)
    kept = await table.get(Key("P", "one"))
    losers = [result for result in results if isinstance(result, TransactionCancelled)]
    assert (results.count(None), len(losers)) == (1, 19)
    assert all(loser.reasons[0].item == kept for loser in losers)


async def test_calls_leave_nothing_for_the_collector(table: DynamoTable) -> None:
    """A hundred calls leave fewer than 50 objects in reference cycles; it was 20 MiB once."""
    await table.transact([Put(item=item("first"))])
    gc.collect()
    gc.disable()
    try:
        for number in range(50):
            await table.transact([Put(item=item(f"N#{number}"))])
            assert await table.get(Key("P", f"N#{number}"))
        left = gc.collect()
    finally:
        gc.enable()
    assert left < 50


async def test_a_number_below_the_smallest_magnitude_is_stored_as_zero(table: DynamoTable):
    """A latitude of 2e-308, which JSON allows and DynamoDB refuses, is stored as zero."""
    item = {"PK": "a", "SK": "b", "lat": 2e-308, "lng": -5e-324, "small": 1e-130}
    await table.transact([Put(item=item)])
    kept = await table.get(Key("a", "b"))

    assert (kept["lat"], kept["lng"], kept["small"]) == (0, 0, 1e-130)
