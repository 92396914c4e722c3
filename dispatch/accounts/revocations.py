"""Tokens that were recalled before their end: written once, read by every node."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from dispatch import keys
from dispatch.clock import Clock
from dispatch.errors import StoreUnavailable
from dispatch.events.audit_records import audit
from dispatch.events.idempotency_records import Receipt, Receipts, write_receipt
from dispatch.ids import mint
from dispatch.keys import Identity
from dispatch.model import Record
from dispatch.storage.dynamodb_errors import Answering
from dispatch.storage.redis_client import RedisClients, translate
from ledger.dynamodb.table import (
    Key,
    Page,
    Put,
    Query,
    Table,
    TransactionCancelled,
    in_time,
)

_PK = "REVOKED"
# Sign-ins that their owners have ended: many, and of no interest as soon as their tokens are over.
_PK_BRIEF = "REVOKED#BRIEF"
# Source: wire contract, a token lives for 30 days at most; the day more is for clocks.
KEPT_MS = 31 * 86_400_000
PAGE = 100
BRIEF_MS = 3_600_000


class Revocation(Record, frozen=True):
    """One token, or all tokens that one identity had at a moment. Units: Unix milliseconds."""

    subject: str
    at_ms: int
    # From here on no token that it is about can be valid.
    until_ms: int


class Wish(NamedTuple):
    """What is to be recalled, by whom; `until_ms` as in Revocation."""

    subjects: Sequence[str]
    by: Identity
    reason: str | None = None
    until_ms: int | None = None


def of_token(token_id: str) -> str:
    """The subject of one token."""
    return f"token:{token_id}"


def of_identity(owner: Identity) -> str:
    """The subject of every token that an identity has until now."""
    return f"identity:{owner}"


def of_sign_in(sign_in_id: str) -> str:
    """The subject of every access token that a sign-in has got."""
    return f"sign_in:{sign_in_id}"


class Revocations:
    """The list, oldest last, and a word to every node when it grows."""

    def __init__(self, table: Table, clients: RedisClients, clock: Clock) -> None:
        self._table = Answering(table)
        self._receipts = Receipts(table)
        self._redis = clients.commands
        self._clock = clock

    async def add(self, wish: Wish, answer: dict[str, Any], receipt: Receipt | None) -> Any:
        """Recall what is wished, and return `answer` with the moment it holds from.

        A repeat has no effect and gets the first answer.

        Errors: StoreUnavailable; Refused CONFLICT where the receipt's name was used before.
        DynamoDB: one transaction of the entries, the audit record and the receipt.
        Redis: SPUBLISH; where Redis is away the nodes look by themselves.
        """
        first = await self._receipts.find(receipt)
        if first is not None:
            return first
        now_ms = self._clock.now_ms()
        answer = {**answer, "revokedAt": now_ms}
        until_ms = wish.until_ms or now_ms + KEPT_MS
        writes = [_entry(subject, now_ms, until_ms) for subject in wish.subjects]
        what = {"subjects": list(wish.subjects), "reason": wish.reason}
        writes.append(audit("revoke_tokens", wish.by, what, now_ms))
        if receipt is not None:
            writes.append(write_receipt(receipt, answer, now_ms))
        try:
            await self._table.transact(writes)
        except TransactionCancelled:
            return await self._receipts.find(receipt)
        await self._tell()
        return answer

    async def end_sign_in(self, sign_in_id: str) -> None:
        """Recall the access tokens of a sign-in, for the hour that the last of them lives.

        DynamoDB: one PutItem; repeating it changes nothing.
        Redis: PUBLISH, as in `add`.
        """
        now_ms = self._clock.now_ms()
        entry = _entry(of_sign_in(sign_in_id), now_ms, now_ms + BRIEF_MS, _PK_BRIEF)
        await self._table.transact([entry])
        await self._tell()

    async def _tell(self) -> None:
        with suppress(StoreUnavailable), translate():
            await self._redis.spublish(keys.revoked_channel(), b"")

    async def since(self, at_ms: int) -> list[Revocation]:
        """Everything that was recalled from a moment on, newest first.

        DynamoDB: two Queries, more where more than a hundred were recalled; consistent.
        """
        brief_ms = max(at_ms, self._clock.now_ms() - BRIEF_MS)
        return [*await self._all(_PK, at_ms), *await self._all(_PK_BRIEF, brief_ms)]

    async def _all(self, pk: str, at_ms: int) -> list[Revocation]:
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
        return await self._table.query(Query(pk=pk, limit=PAGE, cursor=cursor, forward=False))


def _entry(subject: str, now_ms: int, until_ms: int, pk: str = _PK) -> Put:
    key = Key(pk, in_time(now_ms, mint("rev")))
    entry = Revocation(subject=subject, at_ms=now_ms, until_ms=until_ms)
    item = {**msgspec.to_builtins(entry), "ttl": min(until_ms, now_ms + KEPT_MS) // 1000 + 3600}
    return Put(item={"PK": key.pk, "SK": key.sk, **item}, condition="attribute_not_exists(PK)")
