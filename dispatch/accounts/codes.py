"""One-time codes by login: what a live code is derived from, until when, valid once.

The table holds no code: one is derived from its nonce by the server's key. Asking again sends the
same code for half of its life, and the code before stays valid, so that another's request never
makes the code in the owner's hand invalid.
"""

from typing import NamedTuple

import msgspec

from dispatch.accounts.store import Login
from dispatch.clock import Clock
from dispatch.ids import new_id
from dispatch.model import Record
from dispatch.storage.dynamodb_errors import RetryableTable
from ledger.dynamodb.table import Delete, Put, Table, TransactionCancelled

# Source: NIST SP 800-63B section 5.1.3.2, a code sent out of band is valid for at most ten minutes.
CODE_TTL_MS = 10 * 60_000
# A code that is asked for again is sent again while it has this much left.
REUSE_MS = CODE_TTL_MS // 2
# Live codes of a login at most: the newest, and the one before in the first half of its life.
LIVE_CODES_MAX = 2


class _CodeRecord(Record, frozen=True):
    nonce: str
    until: int
    # The code before, which is valid for the rest of its life.
    previous: str = ""
    previous_until: int = 0


class LiveCode(NamedTuple):
    """What a live code is derived from. Units: Unix milliseconds."""

    nonce: str
    until_ms: int


class Codes:
    """Live codes of each login.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._clock = clock

    async def live(self, login: Login) -> list[LiveCode]:
        """The live codes of a login, newest first; at most LIVE_CODES_MAX.

        DynamoDB: one GetItem, consistent.
        """
        return self._live_of(await self._read(login))

    async def issue(self, login: Login) -> LiveCode:
        """The code to send: the newest where it has half of its life left, else a new one.

        DynamoDB: one GetItem and at most one conditional PutItem; again where another request was
        faster.
        """
        stored = await self._read(login)
        live = self._live_of(stored)
        now_ms = self._clock.now_ms()
        if live and live[0].until_ms - now_ms >= REUSE_MS:
            return live[0]
        before = live[0] if live else LiveCode("", 0)
        issued = LiveCode(new_id("cod"), now_ms + CODE_TTL_MS)
        code = _CodeRecord(
            nonce=issued.nonce,
            until=issued.until_ms,
            previous=before.nonce,
            previous_until=before.until_ms,
        )
        key = login.key("CODE")
        item = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(code)}
        item["ttl"] = issued.until_ms // 1000 + 3600
        put = Put(item=item, condition="attribute_not_exists(PK)")
        if stored is not None:
            put = Put(item=item, condition="nonce = :seen", values={":seen": stored.nonce})
        try:
            await self._table.transact([put])
        except TransactionCancelled:
            return await self.issue(login)
        return issued

    async def consume(self, login: Login, code: LiveCode) -> bool:
        """Whether the code was still there: of several requests with it one gets True.

        The other live code of the login ends too.
        DynamoDB: one conditional DeleteItem.
        """
        condition = "nonce = :nonce OR previous = :nonce"
        delete = Delete(key=login.key("CODE"), condition=condition, values={":nonce": code.nonce})
        try:
            await self._table.transact([delete])
        except TransactionCancelled:
            return False
        return True

    async def _read(self, login: Login) -> _CodeRecord | None:
        item = await self._table.get(login.key("CODE"))
        return msgspec.convert(item, _CodeRecord) if item else None

    def _live_of(self, stored: _CodeRecord | None) -> list[LiveCode]:
        if stored is None:
            return []
        both = (
            LiveCode(stored.nonce, stored.until),
            LiveCode(stored.previous, stored.previous_until),
        )
        return [code for code in both if code.until_ms > self._clock.now_ms()]
