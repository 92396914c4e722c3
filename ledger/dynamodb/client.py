"""The table on DynamoDB: one low-level client, one loop of retries, nothing half known."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from concurrency.backoff import delay_s
from ledger.dynamodb.attribute_values import from_item, to_attribute, to_item
from ledger.dynamodb.batched_reads import batch_reads
from ledger.dynamodb.cursors import read_cursor, write_cursor
from ledger.dynamodb.response_parsing import PlainJsonParsers
from ledger.dynamodb.table import (
    CancelReason,
    Check,
    Delete,
    Item,
    Key,
    Page,
    Put,
    Query,
    TableUnavailable,
    TransactionCancelled,
    Update,
    Write,
)

# Source: DynamoDB recovers a transaction in flight within 5 s; a caller waits no longer either.
DEADLINE_S = 5.0
# Connections at once; at 20 ms a call they carry 3,200 calls a second.
POOL_SIZE = 64
CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 3.0
KEEPALIVE_S = 60.0
# Source: API limits of BatchGetItem and of both transactions.
BATCH_MAX = 100
# Source: ClientRequestToken has at most 36 characters.
TOKEN_BYTES = 18
# Items read at a time when a filter throws some of them away.
FILTER_PAGE = 100

_THROTTLE_CODES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)
_CONFLICT_CODES = frozenset({"TransactionConflictException", "TransactionInProgressException"})
_SERVER_ERROR_CODES = frozenset({"InternalServerError", "ServiceUnavailable"})
# Reasons inside a cancelled transaction that no retry cures: the request itself is wrong.
_INVALID_REASONS = frozenset({"ValidationError", "ItemCollectionSizeLimitExceeded"})
_CONDITION_FAILED = "ConditionalCheckFailed"
_T = TypeVar("_T")


class TableCounts:
    """How the table's calls went, since the start."""

    __slots__ = (
        "attempts",
        "calls",
        "cancelled",
        "conflicts",
        "given_up",
        "throttled",
        "unanswered",
    )

    def __init__(self) -> None:
        self.calls = 0
        self.attempts = 0
        # Transactions that a condition stopped.
        self.cancelled = 0
        # Attempts repeated after another transaction's conflict, throttling, or no answer at all.
        self.conflicts = 0
        self.throttled = 0
        self.unanswered = 0
        # Calls given up.
        self.given_up = 0


class DynamoTable:
    """One table behind one client; made by `open_table`."""

    def __init__(self, client: Any, name: str) -> None:
        self.client = client
        self.name = name
        self.counts = TableCounts()
        self._transactions: set[asyncio.Task[None]] = set()
        self._batched_reads = batch_reads(self._get, self.get_many)

    async def get(self, key: Key) -> Item | None:
        """One item, read consistently after this call began.

        DynamoDB: GetItem; BatchGetItem where several are asked for at about the same time.
        """
        return await self._batched_reads.request(key)

    async def _get(self, key: Key) -> Item | None:
        answer = await self._call(
            "get_item", {"Key": _encode_key(key), "TableName": self.name, "ConsistentRead": True}
        )
        return _decode_item(answer)

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        """Several items in the order of `keys`; each consistent by itself, not with one another.

        DynamoDB: BatchGetItem, one call per 100 distinct keys.
        """
        found: dict[Key, Item] = {}
        distinct = list(dict.fromkeys(keys))
        for start in range(0, len(distinct), BATCH_MAX):
            found |= await self._get_batch(distinct[start : start + BATCH_MAX])
        return [found.get(key) for key in keys]

    async def snapshot(self, keys: Sequence[Key]) -> list[Item | None]:
        """Several items as they stood at one moment; at most 100. DynamoDB: TransactGetItems."""
        if not keys:
            return []
        assert len(keys) <= BATCH_MAX, "a snapshot has at most 100 items"
        gets = [{"Get": {"TableName": self.name, "Key": _encode_key(key)}} for key in keys]
        answer = await self._call("transact_get_items", {"TransactItems": gets})
        return [_decode_item(response) for response in answer["Responses"]]

    async def query(self, query: Query) -> Page:
        """One page of a partition or index.

        Errors: ValueError for a cursor that was made for another list.

        DynamoDB: Query, one call a page without `equals`, as many as it takes with it.
        """
        assert query.limit > 0, "an empty page never ends"
        request = _query_request(self.name, query)
        start = read_cursor(query)
        items: list[Item] = []
        # One more than asked for tells whether there is a next page.
        while len(items) <= query.limit:
            if start is not None:
                request["ExclusiveStartKey"] = to_item(start)
            answer = await self._call("query", request)
            items += [from_item(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            start = from_item(answer["LastEvaluatedKey"])
        if len(items) <= query.limit:
            return Page(items, None)
        page = items[: query.limit]
        return Page(page, write_cursor(query, page[-1]))

    async def transact(self, writes: Sequence[Write], token: str | None = None) -> None:
        """All writes or none; conflicts, throttling and lost replies are retried inside.

        Every retry carries the same body and token. Without a `token` each call has its own: what
        was undone meanwhile can be done again, and an item must guard what may happen only once.
        A cancelled caller leaves the transaction running to its end.

        Errors: TransactionCancelled where a condition failed; TableUnavailable after the deadline,
        when the outcome is unknown.

        DynamoDB: TransactWriteItems.
        """
        assert 0 < len(writes) <= BATCH_MAX, "a transaction has 1 to 100 writes"
        request = {
            "TransactItems": [_write_request(self.name, write) for write in writes],
            "ClientRequestToken": token or secrets.token_urlsafe(TOKEN_BYTES),
        }
        task = asyncio.ensure_future(self._send_transaction(request))
        self._transactions.add(task)
        task.add_done_callback(self._on_transaction_done)
        await asyncio.shield(task)

    async def call_admin(self, operation: str, **request: Any) -> dict[str, Any]:
        """A call about the table itself, as `describe_table`, tried once.

        Errors: ClientError as the engine says it; TableUnavailable where it says nothing.
        """
        try:
            return await getattr(self.client, operation)(TableName=self.name, **request)
        except (HTTPClientError, BotoConnectionError) as error:
            raise TableUnavailable(f"{self.name}: {error}") from error

    async def wait_for_transactions(self) -> None:
        """Wait for transactions whose callers have gone."""
        while self._transactions:
            await asyncio.wait(self._transactions)

    async def _send_transaction(self, request: dict[str, Any]) -> None:
        await self._call("transact_write_items", request)

    def _on_transaction_done(self, task: asyncio.Task[None]) -> None:
        self._transactions.discard(task)
        # Where the caller is gone nobody else asks, and asyncio would complain on stderr.
        if not task.cancelled():
            task.exception()

    async def _get_batch(self, keys: Sequence[Key]) -> dict[Key, Item]:
        found: dict[Key, Item] = {}
        wanted: Any = {
            self.name: {"Keys": [_encode_key(key) for key in keys], "ConsistentRead": True}
        }

        async def attempt() -> bool:
            nonlocal wanted
            answer = await self.client.batch_get_item(RequestItems=wanted)
            for item in map(from_item, answer["Responses"].get(self.name, [])):
                found[Key(item["PK"], item["SK"])] = item
            wanted = answer.get("UnprocessedKeys")
            if wanted:
                raise _UnprocessedKeys
            return True

        await self._retry(attempt)
        return found

    async def _call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        method = getattr(self.client, operation)
        return await self._retry(lambda: method(**request))

    async def _retry(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        self.counts.calls += 1
        cause: BaseException | None = None
        failures = 0
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    self.counts.attempts += 1
                    try:
                        return await attempt()
                    except (
                        ClientError,
                        HTTPClientError,
                        BotoConnectionError,
                        _UnprocessedKeys,
                    ) as e:
                        self._raise_unless_retryable(e)
                        cause = e
                    failures += 1
                    await asyncio.sleep(delay_s(failures))
        except TimeoutError as late:
            self.counts.given_up += 1
            raise TableUnavailable(f"no answer in {DEADLINE_S} s: {cause}") from cause or late

    def _raise_unless_retryable(self, error: Exception) -> None:
        """Return where the call is worth another attempt, raise what it means where it is not."""
        if isinstance(error, _UnprocessedKeys):
            self.counts.throttled += 1
            return
        if not isinstance(error, ClientError):
            self.counts.unanswered += 1
            return
        code = error.response["Error"]["Code"]
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code == "TransactionCanceledException":
            self._raise_unless_conflict(error)
        elif code in _CONFLICT_CODES:
            self.counts.conflicts += 1
        elif code in _THROTTLE_CODES:
            self.counts.throttled += 1
        elif code in _SERVER_ERROR_CODES or status >= 500:
            self.counts.unanswered += 1
        elif code in {"ValidationException", "IdempotentParameterMismatchException"}:
            # A fault of ours, not the table's.
            raise error
        else:
            self.counts.given_up += 1
            raise TableUnavailable(f"{self.name}: {code}") from error

    def _raise_unless_conflict(self, error: ClientError) -> None:
        reasons = [
            _decode_reason(reason) for reason in error.response.get("CancellationReasons", [])
        ]
        codes = {reason.code for reason in reasons}
        if _CONDITION_FAILED in codes:
            self.counts.cancelled += 1
            raise TransactionCancelled(reasons) from error
        if codes & _INVALID_REASONS:
            raise error
        if "TransactionConflict" in codes:
            self.counts.conflicts += 1
        else:
            self.counts.throttled += 1


class _UnprocessedKeys(Exception):
    """The engine left some of a batch for later."""


@asynccontextmanager
async def open_table(
    endpoint_url: str | None, region: str, table_name: str
) -> AsyncIterator[DynamoTable]:
    """The table for the life of the process; make it at start-up, for making blocks the loop.

    `endpoint_url` is None for AWS. An engine on this machine asks for no credentials and gets none.
    """
    config = AioConfig(
        region_name=region,
        parameter_validation=False,
        max_pool_connections=POOL_SIZE,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        # One attempt: the loop in DynamoTable repeats, counts, and keeps to the deadline.
        retries={"mode": "standard", "total_max_attempts": 1},
        connector_args={"keepalive_timeout": KEEPALIVE_S},
        # One that is given is not put together anew for every call, a twelfth of what a call costs.
        # Source: profile of 5,500 calls, 2026-11-21.
        user_agent="reeyo-dispatch",
    )
    basis = get_session()
    basis.register_component("response_parser_factory", PlainJsonParsers())
    session = aioboto3.Session(botocore_session=basis, **_credentials(endpoint_url))
    client: Any = session.client("dynamodb", endpoint_url=endpoint_url, config=config)
    async with client as opened:
        # A region has one address, and the library looks it up for each call among rules that know
        # of more. Source: measured, an eighth of a call's CPU, and ten objects in rings that wait
        # for the collector. A private name of the pinned release; the test holds us to it.
        opened._ruleset_resolver = None
        table = DynamoTable(opened, table_name)
        try:
            yield table
        finally:
            await table.wait_for_transactions()


def _credentials(endpoint_url: str | None) -> dict[str, str]:
    host = urlsplit(endpoint_url).hostname if endpoint_url else None
    is_loopback = host in {"localhost", "::1"} or (host or "").startswith("127.")
    if not is_loopback or "AWS_ACCESS_KEY_ID" in os.environ:
        return {}
    return {"aws_access_key_id": "local", "aws_secret_access_key": "local"}


def _encode_key(key: Key) -> dict[str, Any]:
    return {"PK": {"S": key.pk}, "SK": {"S": key.sk}}


def _decode_item(answer: dict[str, Any]) -> Item | None:
    return from_item(answer["Item"]) if answer.get("Item") else None


def _decode_reason(reason: dict[str, Any]) -> CancelReason:
    code = reason.get("Code")
    return CancelReason(None if code == "None" else code, _decode_item(reason))


def _condition_parameters(write: Write) -> dict[str, Any]:
    request: dict[str, Any] = {}
    if write.condition is not None:
        request["ConditionExpression"] = write.condition
        request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    if write.names:
        request["ExpressionAttributeNames"] = write.names
    if write.values:
        request["ExpressionAttributeValues"] = {k: to_attribute(v) for k, v in write.values.items()}
    return request


def _write_request(table: str, write: Write) -> dict[str, Any]:
    request = {"TableName": table, **_condition_parameters(write)}
    match write:
        case Put(item=item):
            return {"Put": {**request, "Item": to_item(item)}}
        case Update(key=key, expression=text):
            return {"Update": {**request, "Key": _encode_key(key), "UpdateExpression": text}}
        case Delete(key=key):
            return {"Delete": {**request, "Key": _encode_key(key)}}
        case Check(key=key):
            return {"ConditionCheck": {**request, "Key": _encode_key(key)}}


def _query_request(table: str, query: Query) -> dict[str, Any]:
    prefix = query.index or ""
    names = {"#pk": f"{prefix}PK"}
    values: dict[str, Any] = {":pk": query.pk}
    condition = "#pk = :pk"
    if query.prefix:
        names["#sk"] = f"{prefix}SK"
        values[":sk"] = query.prefix
        condition += " AND begins_with(#sk, :sk)"
    request: dict[str, Any] = {
        "TableName": table,
        "KeyConditionExpression": condition,
        "ScanIndexForward": query.forward,
        "Limit": query.limit + 1,
    }
    if query.index:
        request["IndexName"] = query.index
    else:
        request["ConsistentRead"] = True
    if query.equals:
        names |= {f"#e{i}": name for i, name in enumerate(query.equals)}
        values |= {f":e{i}": value for i, value in enumerate(query.equals.values())}
        request["FilterExpression"] = " AND ".join(
            f"#e{i} = :e{i}" for i in range(len(query.equals))
        )
        request["Limit"] = max(FILTER_PAGE, query.limit + 1)
    request["ExpressionAttributeNames"] = names
    request["ExpressionAttributeValues"] = to_item(values)
    return request
