"""Transactions of the fake: prepared under locks, held, then committed whole or not at all."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ledger.dynamodb.fake.errors import (
    InvalidRequest,
    cancel_reason,
    error_response,
    refuse_unsupported,
    transaction_cancelled,
)
from ledger.dynamodb.fake.storage import FakeTable, ItemKey
from ledger.dynamodb.fake.values import Image, item_bytes
from ledger.dynamodb.fake.writes import (
    ParsedWrite,
    apply_write,
    condition_holds,
    parse_write,
)
from ledger.dynamodb.table import TRANSACTION_WRITES_MAX

BYTES_MAX = 4 * 1024 * 1024
# Source: TransactWriteItems: a token is valid for ten minutes after the request completed.
TOKEN_S = 600.0
# Source: ClientRequestToken, 1 to 36 characters.
TOKEN_CHARS_MAX = 36

_WRITE = "transact_write_items"
_LockKey = tuple[str, ItemKey]
_Reasons = list[dict[str, Any] | None]


class _TokenRecord(NamedTuple):
    """A transaction with a token; `at_s` is when it was committed, None while it runs."""

    body: Sequence[Any]
    at_s: float | None


class DelaySource:
    """Source of the hold time of each transaction and of the lag of its index updates.

    Units: seconds.
    """

    def __init__(self, hold_s: Callable[[], float], lag_s: Callable[[], float]) -> None:
        self.hold_s = hold_s
        self.lag_s = lag_s


class Transactions:
    """Runs transactions, with locks and tokens."""

    def __init__(
        self,
        tables: Mapping[str, FakeTable],
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        delays: DelaySource,
    ) -> None:
        self._tables = tables
        self._now_s = now_s
        self._sleep = sleep
        self._delays = delays
        self._locked: set[_LockKey] = set()
        self._tokens: OrderedDict[str, _TokenRecord] = OrderedDict()

    async def write(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """TransactWriteItems. Errors: ClientError; InvalidRequest; TableNotFound."""
        refuse_unsupported(request, frozenset({"TransactItems", "ClientRequestToken"}))
        writes = self._parse_writes(request["TransactItems"])
        token = request.get("ClientRequestToken")
        if token is not None and self._is_replay(token, request["TransactItems"]):
            return {}
        images = self._prepare(writes)
        locks = {(each.table_name, each.key) for each in writes}
        self._locked |= locks
        self._record_token(token, request["TransactItems"], None)
        try:
            await self._sleep(self._delays.hold_s())
            for each, image in zip(writes, images, strict=True):
                if each.verb != "ConditionCheck":
                    each.table.put(each.key, image, self._delays.lag_s())
            self._record_token(token, request["TransactItems"], self._now_s())
        finally:
            self._locked -= locks
        return {}

    def _parse_writes(self, parts: Sequence[Mapping[str, Any]]) -> list[ParsedWrite]:
        if not 0 < len(parts) <= TRANSACTION_WRITES_MAX:
            raise InvalidRequest("Member must have length between 1 and 100")
        writes = [parse_write(part, self._tables) for part in parts]
        keys = {(each.table_name, each.key) for each in writes}
        if len(keys) < len(writes):
            raise InvalidRequest(
                "Transaction request cannot include multiple operations on one item"
            )
        if sum(item_bytes(each.put_item) for each in writes if each.put_item) > BYTES_MAX:
            raise InvalidRequest("Transaction request size has exceeded the maximum of 4 MB")
        return writes

    def _prepare(self, writes: Sequence[ParsedWrite]) -> list[Image | None]:
        images: list[Image | None] = []
        reasons: _Reasons = [None] * len(writes)
        for at, each in enumerate(writes):
            before = each.table.get(each.key)
            images.append(before)
            if (each.table_name, each.key) in self._locked:
                reasons[at] = cancel_reason("TransactionConflict")
            elif not condition_holds(each, before):
                shown = before if each.returns_old else None
                reasons[at] = cancel_reason("ConditionalCheckFailed", shown and dict(shown))
            else:
                try:
                    images[at] = apply_write(each, before)
                except InvalidRequest as wrong:
                    reasons[at] = cancel_reason("ValidationError", message=str(wrong))
        if any(reasons):
            raise transaction_cancelled(reasons, _WRITE)
        return images

    def _is_replay(self, token: str, body: Sequence[Any]) -> bool:
        if not 0 < len(token) <= TOKEN_CHARS_MAX:
            raise InvalidRequest("ClientRequestToken has 1 to 36 characters")
        now_s = self._now_s()
        # The oldest completed come first; a running one is as good as new.
        while self._tokens:
            first = next(iter(self._tokens.values()))
            if first.at_s is None or first.at_s + TOKEN_S > now_s:
                break
            self._tokens.popitem(last=False)
        record = self._tokens.get(token)
        if record is None:
            return False
        if record.at_s is None:
            message = "The transaction with the given request token is already in progress"
            raise error_response("TransactionInProgressException", message, _WRITE)
        if record.at_s + TOKEN_S <= now_s:
            return False
        if record.body != body:
            message = "Idempotent parameters do not match"
            raise error_response("IdempotentParameterMismatchException", message, _WRITE)
        return True

    def _record_token(self, token: str | None, body: Sequence[Any], at_s: float | None) -> None:
        if token is not None:
            self._tokens[token] = _TokenRecord(body, at_s)
            self._tokens.move_to_end(token)
