"""Token revocations: written to DynamoDB once, announced to every node, read by all."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from dispatch import keys
from dispatch.accounts.people import end_sign_ins
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.audit_records import OperatorAct, audit_record
from dispatch.events.idempotency_records import IdempotencyRecords, RequestKey, write_record
from dispatch.ids import new_id
from dispatch.keys import Identity
from dispatch.model import Record
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.redis_client import RedisClients, translate_redis_errors
from dispatch.wire.http.base import OwnerType
from ledger.dynamodb.table import (
    Key,
    Page,
    Put,
    Query,
    Table,
    TransactionCancelled,
    Write,
    time_sort_key,
)

_PK = "REVOKED"
# Sign-outs: many, and needed only until the access tokens of the sign-in have expired.
_PK_SIGN_OUTS = "REVOKED#SIGN_OUTS"
# Source: docs/contract.md, a token lives for at most 30 days; one day more is for clocks.
REVOCATION_TTL_MS = 31 * 86_400_000
PAGE_SIZE = 100
# Source: docs/http.md, an access token lives for an hour.
SIGN_OUT_TTL_MS = 3_600_000


class Revocation(Record, frozen=True):
    """A revoked token, or all tokens that one identity had at a time. Units: Unix milliseconds."""

    subject: str
    at_ms: int
    # When the last token concerned has expired.
    until_ms: int


class RevocationRequest(NamedTuple):
    """The subjects to revoke, by which `userId` and why; `until_ms` as in Revocation."""

    subjects: Sequence[str]
    by: str
    reason: str | None = None
    until_ms: int | None = None


def token_subject(token_id: str) -> str:
    """The subject that stands for one token."""
    return f"token:{token_id}"


_IDENTITY = "identity:"
# Operators have no sign-ins here.
_USER_TYPE_OF: dict[str, OwnerType] = {"user": "USER", "vendor": "VENDOR", "rider": "RIDER"}


def identity_subject(owner: Identity) -> str:
    """The subject that stands for every token an identity has so far."""
    return f"{_IDENTITY}{owner}"


def sign_in_subject(sign_in_id: str) -> str:
    """The subject that stands for every access token of a sign-in."""
    return f"sign_in:{sign_in_id}"


class Revocations:
    """Writes revocations, announces them to the nodes, and lists them.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, clients: RedisClients, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._records = IdempotencyRecords(table)
        self._redis = clients.commands
        self._clock = clock

    async def add(
        self, request: RevocationRequest, answer: dict[str, Any], request_key: RequestKey | None
    ) -> Any:
        """Revoke the requested subjects; `answer` with the time as `revokedAt`.

        Where every token of a person is revoked, its sign-ins end too: none can be renewed.
        A repeat has no effect and gets the first answer.

        Errors: Refused CONFLICT where the request's id was used for another body.
        DynamoDB: one transaction of the entries, the audit record and the idempotency record.
        Redis: SPUBLISH; while Redis is unavailable the nodes poll DynamoDB.
        """
        first = await self._records.find(request_key)
        if first is not None:
            return first
        now_ms = self._clock.now_ms()
        answer = {**answer, "revokedAt": now_ms}
        until_ms = request.until_ms or now_ms + REVOCATION_TTL_MS
        writes: list[Write] = [
            revocation_entry(subject, now_ms, until_ms) for subject in request.subjects
        ]
        writes += _sign_in_ends(request.subjects, now_ms)
        act = OperatorAct(
            action="revoke_tokens",
            actor=request.by,
            resource=request.subjects[0],
            reason=request.reason,
            details={"subjects": list(request.subjects)},
        )
        writes.append(audit_record(act, now_ms))
        if request_key is not None:
            writes.append(write_record(request_key, answer, now_ms))
        try:
            await self._table.transact(writes)
        except TransactionCancelled:
            return await self._records.find(request_key)
        await self.notify_nodes()
        return answer

    async def end_sign_in(self, sign_in_id: str) -> None:
        """Revoke the access tokens of a sign-in, for the hour that the last of them lives.

        DynamoDB: one PutItem; a repeat has no further effect.
        Redis: SPUBLISH, as in `add`.
        """
        now_ms = self._clock.now_ms()
        until_ms = now_ms + SIGN_OUT_TTL_MS
        entry = revocation_entry(sign_in_subject(sign_in_id), now_ms, until_ms, _PK_SIGN_OUTS)
        await self._table.transact([entry])
        await self.notify_nodes()

    async def notify_nodes(self) -> None:
        """Have every node read the revocations now; without Redis they poll."""
        with suppress(StoreUnavailable), translate_redis_errors():
            await self._redis.spublish(keys.revoked_channel(), b"")

    async def since(self, at_ms: int) -> list[Revocation]:
        """Every revocation since a time, newest first, then sign-outs. Units: Unix milliseconds.

        DynamoDB: two Queries, more above a hundred revocations; consistent.
        """
        sign_outs_ms = max(at_ms, self._clock.now_ms() - SIGN_OUT_TTL_MS)
        return [
            *await self._query_since(_PK, at_ms),
            *await self._query_since(_PK_SIGN_OUTS, sign_outs_ms),
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


def _sign_in_ends(subjects: Sequence[str], now_ms: int) -> list[Write]:
    """The writes that end the sign-ins of the identities among the subjects."""
    owners = [each.removeprefix(_IDENTITY) for each in subjects if each.startswith(_IDENTITY)]
    parts = [owner.partition(":") for owner in owners]
    return [
        end_sign_ins(_USER_TYPE_OF[audience], person_id, now_ms)
        for audience, _, person_id in parts
        if audience in _USER_TYPE_OF
    ]


def revocation_entry(subject: str, now_ms: int, until_ms: int, pk: str = _PK) -> Put:
    """The write of one revocation. Units: Unix milliseconds. DynamoDB: Put."""
    key = Key(pk, time_sort_key(now_ms, new_id("rev")))
    entry = Revocation(subject=subject, at_ms=now_ms, until_ms=until_ms)
    item = {
        **msgspec.to_builtins(entry),
        "ttl": min(until_ms, now_ms + REVOCATION_TTL_MS) // 1000 + 3600,
    }
    return Put(item={"PK": key.pk, "SK": key.sk, **item}, condition="attribute_not_exists(PK)")
