"""Transactions: prepared under locks, held for a while, then carried out whole or not at all."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ledger.dynamodb.fake.errors import (
    Wrong,
    cancelled,
    only,
    reason,
    refused,
)
from ledger.dynamodb.fake.storage import Place, Shelves, find
from ledger.dynamodb.fake.values import Image, size_of
from ledger.dynamodb.fake.writes import (
    Asked,
    may,
    outcome,
    read_place,
    read_write,
)

# Source: API limits of both transactions.
WRITES_MAX = 100
BYTES_MAX = 4 * 1024 * 1024
# Source: TransactWriteItems: a token is good for ten minutes after the request was done.
TOKEN_S = 600.0
# Source: ClientRequestToken, 1 to 36 characters.
TOKEN_CHARS_MAX = 36

_WRITE = "transact_write_items"
_READ = "transact_get_items"
_GET = frozenset({"TableName", "Key"})
_Lock = tuple[str, Place]
_Reasons = list[dict[str, Any] | None]


class _Done(NamedTuple):
    """A transaction that was carried out; `at_s` is None while it is under way."""

    body: Sequence[Any]
    at_s: float | None


class Times:
    """How long a transaction is held, and how far the indexes are behind, from one to the next."""

    def __init__(self, hold_s: Callable[[], float], lag_s: Callable[[], float]) -> None:
        self.hold_s = hold_s
        self.lag_s = lag_s


class Transactions:
    """All transactions of the fake, under way and lately done."""

    def __init__(
        self,
        tables: Mapping[str, Shelves],
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        times: Times,
    ) -> None:
        self._tables = tables
        self._now_s = now_s
        self._sleep = sleep
        self._times = times
        self._locked: set[_Lock] = set()
        self._tokens: OrderedDict[str, _Done] = OrderedDict()

    async def write(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """TransactWriteItems. Errors: ClientError; Wrong; NoTable."""
        only(request, frozenset({"TransactItems", "ClientRequestToken"}))
        asked = self._read(request["TransactItems"])
        token = request.get("ClientRequestToken")
        if token is not None and self._is_done(token, request["TransactItems"]):
            return {}
        images = self._prepare(asked)
        locks = {(each.table, each.place) for each in asked}
        self._locked |= locks
        self._remember(token, request["TransactItems"], None)
        try:
            await self._sleep(self._times.hold_s())
            for each, image in zip(asked, images, strict=True):
                if each.verb != "ConditionCheck":
                    each.shelves.put(each.place, image, self._times.lag_s())
            self._remember(token, request["TransactItems"], self._now_s())
        finally:
            self._locked -= locks
        return {}

    def read(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """TransactGetItems. Errors: ClientError; Wrong; NoTable."""
        only(request, frozenset({"TransactItems"}))
        parts = request["TransactItems"]
        _check_count(parts)
        places = [self._get_place(part) for part in parts]
        if len(set(places)) < len(places):
            raise Wrong("Transaction request cannot include multiple operations on one item")
        conflicts = [reason("TransactionConflict") if p in self._locked else None for p in places]
        if any(conflicts):
            raise cancelled(conflicts, _READ)
        images = [find(self._tables, table).get(place) for table, place in places]
        return {"Responses": [{} if image is None else {"Item": dict(image)} for image in images]}

    def _get_place(self, part: Mapping[str, Any]) -> _Lock:
        only(part, frozenset({"Get"}))
        only(part["Get"], _GET)
        find(self._tables, part["Get"]["TableName"])
        return part["Get"]["TableName"], read_place(part["Get"]["Key"])

    def _read(self, parts: Sequence[Mapping[str, Any]]) -> list[Asked]:
        _check_count(parts)
        asked = [read_write(part, self._tables) for part in parts]
        places = {(each.table, each.place) for each in asked}
        if len(places) < len(asked):
            raise Wrong("Transaction request cannot include multiple operations on one item")
        if sum(size_of(each.put) for each in asked if each.put) > BYTES_MAX:
            raise Wrong("Transaction request size has exceeded the maximum of 4 MB")
        return asked

    def _prepare(self, asked: Sequence[Asked]) -> list[Image | None]:
        images: list[Image | None] = []
        reasons: _Reasons = [None] * len(asked)
        for at, each in enumerate(asked):
            before = each.shelves.get(each.place)
            images.append(before)
            if (each.table, each.place) in self._locked:
                reasons[at] = reason("TransactionConflict")
            elif not may(each, before):
                shown = before if each.shows_old else None
                reasons[at] = reason("ConditionalCheckFailed", shown and dict(shown))
            else:
                try:
                    images[at] = outcome(each, before)
                except Wrong as wrong:
                    reasons[at] = reason("ValidationError", message=str(wrong))
        if any(reasons):
            raise cancelled(reasons, _WRITE)
        return images

    def _is_done(self, token: str, body: Sequence[Any]) -> bool:
        if not 0 < len(token) <= TOKEN_CHARS_MAX:
            raise Wrong("ClientRequestToken has 1 to 36 characters")
        now_s = self._now_s()
        # Those done first come first; one under way is as good as new.
        while self._tokens:
            first = next(iter(self._tokens.values()))
            if first.at_s is None or first.at_s + TOKEN_S > now_s:
                break
            self._tokens.popitem(last=False)
        done = self._tokens.get(token)
        if done is None:
            return False
        if done.at_s is None:
            message = "The transaction with the given request token is already in progress"
            raise refused("TransactionInProgressException", message, _WRITE)
        if done.at_s + TOKEN_S <= now_s:
            return False
        if done.body != body:
            message = "Idempotent parameters do not match"
            raise refused("IdempotentParameterMismatchException", message, _WRITE)
        return True

    def _remember(self, token: str | None, body: Sequence[Any], at_s: float | None) -> None:
        if token is not None:
            self._tokens[token] = _Done(body, at_s)
            self._tokens.move_to_end(token)


def _check_count(parts: Sequence[Any]) -> None:
    if not 0 < len(parts) <= WRITES_MAX:
        raise Wrong("Member must have length between 1 and 100")
