"""The table on DynamoDB: one low-level client, one retry loop, no guessed outcomes."""

# The AWS libraries have no type stubs.
# pyright: reportMissingTypeStubs=false

import asyncio
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError

from concurrency.backoff import delay_s
from ledger.dynamodb.attribute_values import from_item, to_item
from ledger.dynamodb.batched_reads import batch_reads
from ledger.dynamodb.connection import library_client
from ledger.dynamodb.cursors import read_cursor, write_cursor
from ledger.dynamodb.requests import (
    Request,
    Response,
    decode_item,
    decode_reason,
    encode_key,
    query_request,
    write_request,
)
from ledger.dynamodb.table import (
    BATCH_KEYS_MAX,
    CONDITION_FAILED,
    TRANSACTION_WRITES_MAX,
    Item,
    Key,
    Page,
    Query,
    TableUnavailable,
    TransactionCancelled,
    Write,
)

# Source: ClientRequestToken has at most 36 characters.
TOKEN_BYTES = 18

_THROTTLE_CODES = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)
_CONFLICT_CODES = frozenset({"TransactionConflictException", "TransactionInProgressException"})
_SERVER_ERROR_CODES = frozenset({"InternalServerError", "ServiceUnavailable"})
_BUG_CODES = frozenset({"ValidationException", "IdempotentParameterMismatchException"})
# Reasons inside a cancelled transaction that no retry cures: the request itself is wrong.
_INVALID_REASONS = frozenset({"ValidationError", "ItemCollectionSizeLimitExceeded"})
_T = TypeVar("_T")


class TableLimits(NamedTuple):
    """Bounds of a table's calls. Units: seconds, items."""

    # Source: DynamoDB recovers a transaction in flight within 5 s; a caller waits no longer either.
    deadline_s: float = 5.0
    # Items read at a time where a filter drops some of them. Source: chosen.
    filter_page_items: int = 100


DEFAULT_LIMITS = TableLimits()


class TableCounts:
    """Counts of the table's calls and their outcomes since the start."""

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
        # Transactions cancelled by a condition.
        self.cancelled = 0
        # Attempts repeated after a conflict with another transaction, throttling, or no answer.
        self.conflicts = 0
        self.throttled = 0
        self.unanswered = 0
        # Calls given up at the deadline or after an error that no retry cures.
        self.given_up = 0


class DynamoTable:
    """One table behind one client, either the library's (see `open_table`) or the fake."""

    def __init__(self, client: Any, name: str, limits: TableLimits = DEFAULT_LIMITS) -> None:
        self.client = client
        self.name = name
        self.counts = TableCounts()
        self._limits = limits
        self._transactions: set[asyncio.Task[None]] = set()
        self._batched_reads = batch_reads(self._get, self.get_many)

    async def get(self, key: Key) -> Item | None:
        """One item, read consistently after this call began.

        Errors: TableUnavailable.

        DynamoDB: GetItem; BatchGetItem where several items are requested at about the same time.
        """
        return await self._batched_reads.request(key)

    async def get_many(self, keys: Sequence[Key]) -> list[Item | None]:
        """Several items in the order of `keys`; each consistent by itself, not with one another.

        Errors: TableUnavailable.

        DynamoDB: BatchGetItem, one call per 100 distinct keys.
        """
        found: dict[Key, Item] = {}
        distinct = list(dict.fromkeys(keys))
        for start in range(0, len(distinct), BATCH_KEYS_MAX):
            found |= await self._get_batch(distinct[start : start + BATCH_KEYS_MAX])
        return [found.get(key) for key in keys]

    async def query(self, query: Query) -> Page:
        """One page of a partition or index.

        Errors: TableUnavailable; ValueError for a cursor that was made for another list.

        DynamoDB: Query, one call per page without `equals`, as many as needed with it.
        """
        assert query.limit > 0, "a page has at least one item"
        request = query_request(self.name, query, self._limits.filter_page_items)
        start = read_cursor(query)
        items: list[Item] = []
        while len(items) <= query.limit:
            if start is not None:
                request["ExclusiveStartKey"] = to_item(start)
            answer = await self._call(self.client.query, request)
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

        Every retry carries the same body and token. Without a `token` each call has its own, so
        that an equal change may be made again later; an item must guard what may happen only once.
        A cancelled caller does not stop the transaction.

        Errors: TransactionCancelled where a condition failed; TableUnavailable after the deadline,
        when the outcome is unknown.

        DynamoDB: TransactWriteItems.
        """
        assert 0 < len(writes) <= TRANSACTION_WRITES_MAX, "a transaction has 1 to 100 writes"
        request = {
            "TransactItems": [write_request(self.name, write) for write in writes],
            "ClientRequestToken": token or secrets.token_urlsafe(TOKEN_BYTES),
        }
        task = asyncio.ensure_future(self._send_transaction(request))
        self._transactions.add(task)
        task.add_done_callback(self._on_transaction_done)
        await asyncio.shield(task)

    async def call_admin(self, operation: str, **request: Any) -> Response:
        """A call about the table itself, such as `describe_table`, tried once.

        Errors: ClientError from the engine; TableUnavailable where it does not answer.
        """
        try:
            return await getattr(self.client, operation)(TableName=self.name, **request)
        except (HTTPClientError, BotoConnectionError) as error:
            raise TableUnavailable(f"{self.name}: {error}") from error

    async def wait_for_transactions(self) -> None:
        """Wait for transactions whose callers were cancelled."""
        while self._transactions:
            await asyncio.wait(self._transactions)

    async def _get(self, key: Key) -> Item | None:
        request = {"Key": encode_key(key), "TableName": self.name, "ConsistentRead": True}
        return decode_item(await self._call(self.client.get_item, request))

    async def _send_transaction(self, request: Request) -> None:
        await self._call(self.client.transact_write_items, request)

    def _on_transaction_done(self, task: asyncio.Task[None]) -> None:
        self._transactions.discard(task)
        # Without a caller nobody retrieves the exception, and asyncio would log it.
        if not task.cancelled():
            task.exception()

    async def _get_batch(self, keys: Sequence[Key]) -> dict[Key, Item]:
        found: dict[Key, Item] = {}
        unprocessed: Request = {
            self.name: {"Keys": [encode_key(key) for key in keys], "ConsistentRead": True}
        }

        async def attempt() -> bool:
            nonlocal unprocessed
            answer = await self.client.batch_get_item(RequestItems=unprocessed)
            for item in map(from_item, answer["Responses"].get(self.name, [])):
                found[Key(item["PK"], item["SK"])] = item
            unprocessed = answer.get("UnprocessedKeys") or {}
            if unprocessed:
                raise _UnprocessedKeys
            return True

        await self._retry(attempt)
        return found

    async def _call(
        self, operation: Callable[..., Awaitable[Response]], request: Request
    ) -> Response:
        return await self._retry(lambda: operation(**request))

    async def _retry(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        self.counts.calls += 1
        cause: BaseException | None = None
        failures = 0
        deadline_s = self._limits.deadline_s
        try:
            async with asyncio.timeout(deadline_s):
                while True:
                    self.counts.attempts += 1
                    try:
                        return await attempt()
                    except (
                        ClientError,
                        HTTPClientError,
                        BotoConnectionError,
                        _UnprocessedKeys,
                    ) as error:
                        self._raise_unless_retryable(error)
                        cause = error
                    failures += 1
                    await asyncio.sleep(delay_s(failures))
        except TimeoutError as timeout:
            self.counts.given_up += 1
            raise TableUnavailable(f"no answer in {deadline_s} s: {cause}") from cause or timeout

    def _raise_unless_retryable(self, error: Exception) -> None:
        """Return where the call is worth another attempt; otherwise raise what the error means."""
        if isinstance(error, _UnprocessedKeys):
            self.counts.throttled += 1
            return
        if not isinstance(error, ClientError):
            self.counts.unanswered += 1
            return
        answer = _answer_of(error)
        code = answer["Error"]["Code"]
        if code == "TransactionCanceledException":
            self._raise_unless_conflict(error)
        elif code in _CONFLICT_CODES:
            self.counts.conflicts += 1
        elif code in _THROTTLE_CODES:
            self.counts.throttled += 1
        elif code in _SERVER_ERROR_CODES or answer["ResponseMetadata"]["HTTPStatusCode"] >= 500:
            self.counts.unanswered += 1
        elif code in _BUG_CODES:
            # Our request is wrong; the table is not unavailable.
            raise error
        else:
            self.counts.given_up += 1
            raise TableUnavailable(f"{self.name}: {code}") from error

    def _raise_unless_conflict(self, error: ClientError) -> None:
        answer = _answer_of(error)
        reasons = [decode_reason(reason) for reason in answer.get("CancellationReasons", [])]
        codes = {reason.code for reason in reasons}
        if CONDITION_FAILED in codes:
            self.counts.cancelled += 1
            raise TransactionCancelled(reasons) from error
        if codes & _INVALID_REASONS:
            raise error
        if "TransactionConflict" in codes:
            self.counts.conflicts += 1
        else:
            self.counts.throttled += 1


def _answer_of(error: ClientError) -> Response:
    return error.response  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


class _UnprocessedKeys(Exception):
    """DynamoDB returned only a part of a batch."""


@asynccontextmanager
async def open_table(
    endpoint_url: str | None, region: str, table_name: str
) -> AsyncGenerator[DynamoTable, None]:
    """The table for the life of the process; open it at start-up, since this blocks the loop.

    `endpoint_url` is None for AWS. An engine on this machine gets placeholder credentials.
    """
    async with library_client(endpoint_url, region) as client:
        table = DynamoTable(client, table_name)
        try:
            yield table
        finally:
            await table.wait_for_transactions()
