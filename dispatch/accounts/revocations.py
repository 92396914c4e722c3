"""Tokens that were recalled before their end: written once, read by every node."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from dispatch import keys
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.audit_records import audit_record
from dispatch.events.idempotency_records import IdempotencyRecords, RequestKey, write_record
from dispatch.ids import new_id
from dispatch.keys import Identity
from dispatch.model import Record
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.redis_client import RedisClients, translate_redis_errors
from ledger.dynamodb.table import (
    Key,
    Page,
    Put,
    Query,
    Table,
    TransactionCancelled,
    time_sort_key,
)

_PK = "REVOKED"
# Sign-ins that their owners have ended: many, and of no interest as soon as their tokens are over.
_PK_SIGN_OUTS = "REVOKED#SIGN_OUTS"
# Source: wire contract, a token lives for 30 days at most; the day more is for clocks.
REVOCATION_TTL_MS = 31 * 86_400_000
PAGE_SIZE = 100
SIGN_OUT_TTL_MS = 3_600_000


class Revocation(Record, frozen=True):
    """One token, or all tokens that one identity had at a moment. Units: Unix milliseconds."""

    subject: str
    at_ms: int
    # From here on no token that it is about can be valid.
    until_ms: int


class RevocationRequest(NamedTuple):
    """What is to be recalled, by whom; `until_ms` as in Revocation."""

    subjects: Sequence[str]
    by: Identity
    reason: str | None = None
    until_ms: int | None = None


def token_subject(token_id: str) -> str:
    """The subject of one token."""
    return f"token:{token_id}"


def identity_subject(owner: Identity) -> str:
    """The subject of every token that an identity has until now."""
    return f"identity:{owner}"


def sign_in_subject(sign_in_id: str) -> str:
    """The subject of every access token that a sign-in has got."""
    return f"sign_in:{sign_in_id}"


class Revocations:
    """The list, oldest last, and a word to every node when it grows."""

    def __init__(self, table: Table, clients: RedisClients, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._records = IdempotencyRecords(table)
        self._redis = clients.commands
        self._clock = clock

    async def add(
        self, request: RevocationRequest, answer: dict[str, Any], request_key: RequestKey | None
    ) -> Any:
        """Recall what is wished, and return `answer` with the moment it holds from.

        A repeat has no effect and gets the first answer.

        Errors: StoreUnavailable; Refused CONFLICT where the receipt's name was used before.
        DynamoDB: one transaction of the entries, the audit record and the receipt.
        Redis: SPUBLISH; where Redis is away the nodes look by themselves.
        """
        first = await self._records.find(request_key)
        if first is not None:
            return first
        now_ms = self._clock.now_ms()
        answer = {**answer, "revokedAt": now_ms}
        until_ms = request.until_ms or now_ms + REVOCATION_TTL_MS
        writes = [_entry(subject, now_ms, until_ms) for subject in request.subjects]
        what = {"subjects": list(request.subjects), "reason": request.reason}
        writes.append(audit_record("revoke_tokens", request.by, what, now_ms))
        if request_key is not None:
            writes.append(write_record(request_key, answer, now_ms))
        try:
            await self._table.transact(writes)
        except TransactionCancelled:
            return await self._records.find(request_key)
        await self._notify_nodes()
        return answer

    async def end_sign_in(self, sign_in_id: str) -> None:
        """Recall the access tokens of a sign-in, for the hour that the last of them lives.

        DynamoDB: one PutItem; repeating it changes nothing.
        Redis: PUBLISH, as in `add`.
        """
        now_ms = self._clock.now_ms()
        entry = _entry(sign_in_subject(sign_in_id), now_ms, now_ms + SIGN_OUT_TTL_MS, _PK_SIGN_OUTS)
        await self._table.transact([entry])
        await self._notify_nodes()

    async def _notify_nodes(self) -> None:
        with suppress(StoreUnavailable), translate_redis_errors():
            await self._redis.spublish(keys.revoked_channel(), b"")

    async def since(self, at_ms: int) -> list[Revocation]:
        """Everything that was recalled from a moment on, newest first.

        DynamoDB: two Queries, more where more than a hundred were recalled; consistent.
        """
        brief_ms = max(at_ms, self._clock.now_ms() - SIGN_OUT_TTL_MS)
        return [
            *await self._query_since(_PK, at_ms),
            *await self._query_since(_PK_SIGN_OUTS, brief_ms),
        ]

    async def _query_since(self, pk: str, at_ms: int) -> list[Revocation]:
        found: list[Revocation] = []
        cursor: str | None = None
        while True:
            page = await self._page(pk, cursor)
            entries = [msgspec.convert(item, Revocation) for item in page.items]
            found += [entry for entry in entries if entry.at_ms >= at_ms]
            cursor = page.cursor
            if cursor is None or entries[-1].at_ms < at_ms:
                return found

    async def _page(self, pk: str, cursor: str | None) -> Page:
        return await self._table.query(Query(pk=pk, limit=PAGE_SIZE, cursor=cursor, forward=False))


def _entry(subject: str, now_ms: int, until_ms: int, pk: str = _PK) -> Put:
    key = Key(pk, time_sort_key(now_ms, new_id("rev")))
    entry = Revocation(subject=subject, at_ms=now_ms, until_ms=until_ms)
    item = {
        **msgspec.to_builtins(entry),
        "ttl": min(until_ms, now_ms + REVOCATION_TTL_MS) // 1000 + 3600,
    }
    return Put(item={"PK": key.pk, "SK": key.sk, **item}, condition="attribute_not_exists(PK)")
