"""The fake's client: the operations of aioboto3's low-level client that are used here."""

# The AWS libraries have no type stubs.
# pyright: reportMissingTypeStubs=false

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from botocore.exceptions import ClientError

from ledger.dynamodb.fake.errors import (
    InvalidRequest,
    TableNotFound,
    cancel_reason,
    connection_closed,
    error_response,
    refuse_unsupported,
    transaction_cancelled,
)
from ledger.dynamodb.fake.faults import Fault, FaultInjector, Latencies
from ledger.dynamodb.fake.queries import QUERY_PARAMETERS, run_query
from ledger.dynamodb.fake.storage import FakeTable, find_table
from ledger.dynamodb.fake.transactions import DelaySource, Transactions
from ledger.dynamodb.fake.writes import parse_key
from ledger.dynamodb.table import BATCH_KEYS_MAX

Request = Mapping[str, Any]
Response = dict[str, Any]


_GET_PARAMETERS = frozenset({"TableName", "Key", "ConsistentRead"})
T = TypeVar("T")


class FakeDynamo:
    """An in-memory DynamoDB; time and randomness are injected.

    A request that has arrived is executed even if its caller is cancelled. Items do not expire. A
    call that DynamoDB would refuse, or that the fake does not support, is a ValidationException.
    """

    def __init__(
        self,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        latencies: Latencies | None = None,
        faults: FaultInjector | None = None,
    ) -> None:
        self.latencies = latencies or Latencies()
        self.faults = faults or FaultInjector()
        self.tables: dict[str, FakeTable] = {}
        self._now_s = now_s
        self._sleep = sleep
        self._transactions = Transactions(
            self.tables, now_s, sleep, DelaySource(self._draw_hold_s, self._draw_lag_s)
        )
        # Transactions run in a context of their own, apart from their callers'.
        self._context = contextvars.copy_context()
        self._tasks: set[asyncio.Task[Response]] = set()

    async def get_item(self, **request: Any) -> Response:
        """GetItem."""
        return await self._call("get_item", request, self._get_item)

    async def batch_get_item(self, **request: Any) -> Response:
        """BatchGetItem."""
        return await self._call("batch_get_item", request, self._batch_get_item)

    async def query(self, **request: Any) -> Response:
        """Query."""
        return await self._call("query", request, self._query)

    async def transact_write_items(self, **request: Any) -> Response:
        """TransactWriteItems."""
        return await self._call("transact_write_items", request)

    async def create_table(self, **request: Any) -> Response:
        """CreateTable; the table is active at once."""
        return await self._call("create_table", request, self._create_table)

    async def describe_table(self, **request: Any) -> Response:
        """DescribeTable."""
        return await self._call("describe_table", request, self._describe_table)

    async def delete_table(self, **request: Any) -> Response:
        """DeleteTable."""
        return await self._call("delete_table", request, self._delete_table)

    async def describe_time_to_live(self, **request: Any) -> Response:
        """DescribeTimeToLive."""
        return await self._call("describe_time_to_live", request, self._describe_ttl)

    async def update_time_to_live(self, **request: Any) -> Response:
        """UpdateTimeToLive."""
        return await self._call("update_time_to_live", request, self._update_ttl)

    async def wait_for_transactions(self) -> None:
        """Wait for transactions whose callers were cancelled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _call(
        self, operation: str, request: Request, run: Callable[[Request], Response] | None = None
    ) -> Response:
        fault = self.faults.next_fault(operation)
        one_way_s = self.latencies.jitter(self.latencies.round_trip_s / 2, self.faults.rng)
        if fault is Fault.DELAY:
            await self._counted_sleep(self.faults.rng.uniform(0, self.latencies.delay_s))
        await self._counted_sleep(one_way_s)
        if fault is Fault.LOSE_REQUEST:
            raise connection_closed()
        self._raise_fault(fault, operation, request)
        try:
            # Only a transaction takes time on the server, and goes on when its caller is cancelled.
            answer = run(request) if run else await self._run_transaction(request)
        except (InvalidRequest, TableNotFound, ClientError) as error:
            answer = _to_client_error(error, operation)
        await self._counted_sleep(one_way_s)
        if fault is Fault.LOSE_REPLY:
            raise connection_closed()
        if fault is Fault.INTERNAL_ERROR_LATE:
            raise error_response("InternalServerError", "Internal server error", operation)
        if isinstance(answer, ClientError):
            raise answer
        return _leave_half_unprocessed(answer, request) if fault is Fault.PARTIAL_BATCH else answer

    def _raise_fault(self, fault: Fault | None, operation: str, request: Request) -> None:
        if fault is Fault.INTERNAL_ERROR:
            raise error_response("InternalServerError", "Internal server error", operation)
        is_transaction = "TransactItems" in request
        if fault is Fault.THROTTLE and not is_transaction:
            message = "The level of configured provisioned throughput was exceeded"
            raise error_response("ProvisionedThroughputExceededException", message, operation)
        if fault is Fault.THROTTLE or fault is Fault.CONFLICT:
            code = "ThrottlingError" if fault is Fault.THROTTLE else "TransactionConflict"
            reasons: list[Response | None] = [None] * len(request["TransactItems"])
            reasons[self.faults.rng.randrange(len(reasons))] = cancel_reason(code)
            raise transaction_cancelled(reasons, operation)

    async def _run_transaction(self, request: Request) -> Response:
        work = self._transactions.write(request)
        task = asyncio.get_running_loop().create_task(work, context=self._context.copy())
        self._tasks.add(task)
        task.add_done_callback(self._on_transaction_done)
        return await self._counted_await(asyncio.shield(task))

    def _on_transaction_done(self, task: asyncio.Task[Response]) -> None:
        self._tasks.discard(task)
        # Without a caller nobody retrieves the exception, and asyncio would log it.
        if not task.cancelled():
            task.exception()

    async def _counted_sleep(self, seconds: float) -> None:
        await self._counted_await(self._sleep(seconds))

    async def _counted_await(self, work: Awaitable[T]) -> T:
        answer = await work
        self.faults.count_await()
        return answer

    def _draw_hold_s(self) -> float:
        return self.latencies.jitter(self.latencies.hold_s, self.faults.rng)

    def _draw_lag_s(self) -> float:
        lag_s = self.latencies.index_lag_s
        return self.faults.rng.uniform(0, lag_s) if lag_s else 0.0

    def _get_item(self, request: Request) -> Response:
        refuse_unsupported(request, _GET_PARAMETERS)
        image = find_table(self.tables, request["TableName"]).get(parse_key(request["Key"]))
        return {} if image is None else {"Item": dict(image)}

    def _batch_get_item(self, request: Request) -> Response:
        refuse_unsupported(request, frozenset({"RequestItems"}))
        answers: dict[str, list[Response]] = {}
        for name, wanted in request["RequestItems"].items():
            refuse_unsupported(wanted, frozenset({"Keys", "ConsistentRead"}))
            keys = [parse_key(key) for key in wanted["Keys"]]
            if not 0 < len(keys) <= BATCH_KEYS_MAX:
                raise InvalidRequest("Too many items requested for the BatchGetItem call")
            if len(set(keys)) < len(keys):
                raise InvalidRequest("Provided list of item keys contains duplicates")
            found = map(find_table(self.tables, name).get, keys)
            answers[name] = [dict(image) for image in found if image is not None]
        return {"Responses": answers, "UnprocessedKeys": {}}

    def _query(self, request: Request) -> Response:
        refuse_unsupported(request, QUERY_PARAMETERS)
        return run_query(find_table(self.tables, request["TableName"]), request)

    def _create_table(self, request: Request) -> Response:
        name = request["TableName"]
        if name in self.tables:
            raise error_response("ResourceInUseException", f"Table already exists: {name}")
        self.tables[name] = FakeTable(request, self._now_s)
        return {"TableDescription": self._description(name)}

    def _describe_table(self, request: Request) -> Response:
        return {"Table": self._description(request["TableName"])}

    def _delete_table(self, request: Request) -> Response:
        description = self._description(request["TableName"])
        del self.tables[request["TableName"]]
        return {"TableDescription": description}

    def _describe_ttl(self, request: Request) -> Response:
        ttl = find_table(self.tables, request["TableName"]).ttl
        status = "ENABLED" if ttl.get("Enabled") else "DISABLED"
        return {"TimeToLiveDescription": {"TimeToLiveStatus": status}}

    def _update_ttl(self, request: Request) -> Response:
        specification = request["TimeToLiveSpecification"]
        find_table(self.tables, request["TableName"]).ttl = dict(specification)
        return {"TimeToLiveSpecification": specification}

    def _description(self, name: str) -> Response:
        definition = find_table(self.tables, name).definition
        indexes = definition.get("GlobalSecondaryIndexes", [])
        return {
            "TableName": name,
            "TableStatus": "ACTIVE",
            "KeySchema": definition["KeySchema"],
            "AttributeDefinitions": definition["AttributeDefinitions"],
            "GlobalSecondaryIndexes": [{**each, "IndexStatus": "ACTIVE"} for each in indexes],
        }


def _to_client_error(error: Exception, operation: str) -> Any:
    if isinstance(error, InvalidRequest):
        return error_response("ValidationException", str(error), operation)
    if isinstance(error, TableNotFound):
        return error_response(
            "ResourceNotFoundException", "Requested resource not found", operation
        )
    return error


def _leave_half_unprocessed(answer: Response, request: Request) -> Response:
    """Return the first half of each table's keys and leave the rest unprocessed."""
    unprocessed: dict[str, Response] = {}
    answers: dict[str, list[Response]] = {}
    for name, wanted in request["RequestItems"].items():
        keys = wanted["Keys"]
        processed = keys[: (len(keys) + 1) // 2]
        if len(processed) < len(keys):
            unprocessed[name] = {**wanted, "Keys": keys[len(processed) :]}
        wanted_keys = {parse_key(key) for key in processed}
        found = answer["Responses"][name]
        answers[name] = [i for i in found if (i["PK"]["S"], i["SK"]["S"]) in wanted_keys]
    return {"Responses": answers, "UnprocessedKeys": unprocessed}
