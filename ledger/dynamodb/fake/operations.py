"""The fake's calls, as the low-level client of aioboto3 has them."""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from ledger.dynamodb.fake.errors import (
    NoTable,
    Wrong,
    cancelled,
    lost,
    only,
    reason,
    refused,
)
from ledger.dynamodb.fake.faults import Fault, Faults, Pace
from ledger.dynamodb.fake.queries import QUERY, answer_query
from ledger.dynamodb.fake.storage import Shelves, find
from ledger.dynamodb.fake.transactions import Times, Transactions
from ledger.dynamodb.fake.writes import read_place

Request = Mapping[str, Any]
Answer = dict[str, Any]

# Source: API limits of BatchGetItem.
BATCH_MAX = 100

_GET = frozenset({"TableName", "Key", "ConsistentRead"})
T = TypeVar("T")


class FakeDynamo:
    """DynamoDB in this process, alone with its callers; time and chance are given to it.

    A request that has arrived is carried out even if its caller is gone. Items never expire by
    themselves. A call that DynamoDB would refuse, or that the fake does not know, is a
    ValidationException.
    """

    def __init__(
        self,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        pace: Pace | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.pace = pace or Pace()
        self.faults = faults or Faults()
        self.tables: dict[str, Shelves] = {}
        self._now_s = now_s
        self._sleep = sleep
        self._transactions = Transactions(
            self.tables, now_s, sleep, Times(self._hold_s, self._lag_s)
        )
        # What runs on the server's side belongs to no caller.
        self._context = contextvars.copy_context()
        self._running: set[asyncio.Task[Answer]] = set()

    async def get_item(self, **request: Any) -> Answer:
        """GetItem."""
        return await self._call("get_item", request, self._get_item)

    async def batch_get_item(self, **request: Any) -> Answer:
        """BatchGetItem."""
        return await self._call("batch_get_item", request, self._batch_get_item)

    async def query(self, **request: Any) -> Answer:
        """Query."""
        return await self._call("query", request, self._query)

    async def transact_get_items(self, **request: Any) -> Answer:
        """TransactGetItems."""
        return await self._call("transact_get_items", request, self._transactions.read)

    async def transact_write_items(self, **request: Any) -> Answer:
        """TransactWriteItems."""
        return await self._call("transact_write_items", request)

    async def create_table(self, **request: Any) -> Answer:
        """CreateTable; it is active at once."""
        return await self._call("create_table", request, self._create_table)

    async def describe_table(self, **request: Any) -> Answer:
        """DescribeTable."""
        return await self._call("describe_table", request, self._describe_table)

    async def delete_table(self, **request: Any) -> Answer:
        """DeleteTable."""
        return await self._call("delete_table", request, self._delete_table)

    async def describe_time_to_live(self, **request: Any) -> Answer:
        """DescribeTimeToLive."""
        return await self._call("describe_time_to_live", request, self._describe_ttl)

    async def update_time_to_live(self, **request: Any) -> Answer:
        """UpdateTimeToLive."""
        return await self._call("update_time_to_live", request, self._update_ttl)

    async def finish(self) -> None:
        """Wait for transactions whose callers have gone."""
        while self._running:
            await asyncio.wait(self._running)

    async def _call(
        self, operation: str, request: Request, serve: Callable[[Request], Answer] | None = None
    ) -> Answer:
        fault = self.faults.draw(operation)
        one_way_s = self.pace.vary(self.pace.round_trip_s / 2, self.faults.chance)
        if fault is Fault.DELAY:
            await self._pause(self.faults.chance.uniform(0, self.pace.delay_s))
        await self._pause(one_way_s)
        if fault is Fault.LOSE_REQUEST:
            raise lost()
        self._refuse(fault, operation, request)
        try:
            # Only a transaction takes time there, and goes on when its caller is gone.
            answer = serve(request) if serve else await self._carry_out(request)
        except (Wrong, NoTable, ClientError) as error:
            answer = _told(error, operation)
        await self._pause(one_way_s)
        if fault is Fault.LOSE_REPLY:
            raise lost()
        if fault is Fault.BREAK_LATE:
            raise refused("InternalServerError", "Internal server error", operation)
        if isinstance(answer, ClientError):
            raise answer
        return _partial(answer, request) if fault is Fault.PARTIAL else answer

    def _refuse(self, fault: Fault | None, operation: str, request: Request) -> None:
        if fault is Fault.BREAK:
            raise refused("InternalServerError", "Internal server error", operation)
        is_transaction = "TransactItems" in request
        if fault is Fault.THROTTLE and not is_transaction:
            message = "The level of configured provisioned throughput was exceeded"
            raise refused("ProvisionedThroughputExceededException", message, operation)
        if fault is Fault.THROTTLE or fault is Fault.CONFLICT:
            code = "ThrottlingError" if fault is Fault.THROTTLE else "TransactionConflict"
            reasons: list[Answer | None] = [None] * len(request["TransactItems"])
            reasons[self.faults.chance.randrange(len(reasons))] = reason(code)
            raise cancelled(reasons, operation)

    async def _carry_out(self, request: Request) -> Answer:
        work = self._transactions.write(request)
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._running.add(task)
        task.add_done_callback(self._finished)
        return await self._awaited(asyncio.shield(task))

    def _finished(self, task: asyncio.Task[Answer]) -> None:
        self._running.discard(task)
        # Where the caller is gone nobody else asks, and asyncio would complain on stderr.
        if not task.cancelled():
            task.exception()

    async def _pause(self, seconds: float) -> None:
        await self._awaited(self._sleep(seconds))

    async def _awaited(self, work: Awaitable[T]) -> T:
        answer = await work
        self.faults.pass_await()
        return answer

    def _hold_s(self) -> float:
        return self.pace.vary(self.pace.hold_s, self.faults.chance)

    def _lag_s(self) -> float:
        lag_s = self.pace.index_lag_s
        return self.faults.chance.uniform(0, lag_s) if lag_s else 0.0

    def _get_item(self, request: Request) -> Answer:
        only(request, _GET)
        image = find(self.tables, request["TableName"]).get(read_place(request["Key"]))
        return {} if image is None else {"Item": dict(image)}

    def _batch_get_item(self, request: Request) -> Answer:
        only(request, frozenset({"RequestItems"}))
        answers: dict[str, list[Answer]] = {}
        for name, wanted in request["RequestItems"].items():
            only(wanted, frozenset({"Keys", "ConsistentRead"}))
            places = [read_place(key) for key in wanted["Keys"]]
            if not 0 < len(places) <= BATCH_MAX:
                raise Wrong("Too many items requested for the BatchGetItem call")
            if len(set(places)) < len(places):
                raise Wrong("Provided list of item keys contains duplicates")
            found = map(find(self.tables, name).get, places)
            answers[name] = [dict(image) for image in found if image is not None]
        return {"Responses": answers, "UnprocessedKeys": {}}

    def _query(self, request: Request) -> Answer:
        only(request, QUERY)
        return answer_query(find(self.tables, request["TableName"]), request)

    def _create_table(self, request: Request) -> Answer:
        name = request["TableName"]
        if name in self.tables:
            raise refused("ResourceInUseException", f"Table already exists: {name}")
        self.tables[name] = Shelves(request, self._now_s)
        return {"TableDescription": self._description(name)}

    def _describe_table(self, request: Request) -> Answer:
        return {"Table": self._description(request["TableName"])}

    def _delete_table(self, request: Request) -> Answer:
        description = self._description(request["TableName"])
        del self.tables[request["TableName"]]
        return {"TableDescription": description}

    def _describe_ttl(self, request: Request) -> Answer:
        ttl = find(self.tables, request["TableName"]).ttl
        status = "ENABLED" if ttl.get("Enabled") else "DISABLED"
        return {"TimeToLiveDescription": {"TimeToLiveStatus": status}}

    def _update_ttl(self, request: Request) -> Answer:
        specification = request["TimeToLiveSpecification"]
        find(self.tables, request["TableName"]).ttl = dict(specification)
        return {"TimeToLiveSpecification": specification}

    def _description(self, name: str) -> Answer:
        definition = find(self.tables, name).definition
        indexes = definition.get("GlobalSecondaryIndexes", [])
        return {
            "TableName": name,
            "TableStatus": "ACTIVE",
            "KeySchema": definition["KeySchema"],
            "AttributeDefinitions": definition["AttributeDefinitions"],
            "GlobalSecondaryIndexes": [{**each, "IndexStatus": "ACTIVE"} for each in indexes],
        }


def _told(error: Exception, operation: str) -> Any:
    if isinstance(error, Wrong):
        return refused("ValidationException", str(error), operation)
    if isinstance(error, NoTable):
        return refused("ResourceNotFoundException", "Requested resource not found", operation)
    return error


def _partial(answer: Answer, request: Request) -> Answer:
    """Leave the second half of each table's keys for later."""
    left: dict[str, Answer] = {}
    answers: dict[str, list[Answer]] = {}
    for name, wanted in request["RequestItems"].items():
        keys = wanted["Keys"]
        kept = keys[: (len(keys) + 1) // 2]
        if len(kept) < len(keys):
            left[name] = {**wanted, "Keys": keys[len(kept) :]}
        places = {read_place(key) for key in kept}
        found = answer["Responses"][name]
        answers[name] = [i for i in found if (i["PK"]["S"], i["SK"]["S"]) in places]
    return {"Responses": answers, "UnprocessedKeys": left}
