"""Sign-in attempts: counted before they are checked, by login and by the caller's network.

Guesses use up the tries of their own network and those that all unknown networks share. A network
from which the account has signed in before is known, so that guesses from elsewhere never
refuse its right password or code. Source: docs/decisions/0025-logins.md.
"""

from typing import Literal, NamedTuple

import msgspec

from dispatch.accounts.store import Login
from dispatch.clock import Clock
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.item_patch import set_fields
from ledger.dynamodb.table import Delete, Put, Table, TransactionCancelled, Update, Write

Method = Literal["by_password", "by_code"]

# Source: docs/contract.md, five sign-ins in fifteen minutes.
FAILURES_MAX = 5
LOCKOUT_MS = 15 * 60_000
# What all unknown networks together may fail at one login: so many at once, and one more after each
# interval, 96 a day. Source: NIST SP 800-63B section 5.2.2 allows a hundred in a row.
UNKNOWN_NETWORKS_BURST = 50
UNKNOWN_NETWORKS_EVERY_MS = 15 * 60_000
# How long a network stays known after its last sign-in. Source: chosen; three months of a customer
# who orders rarely.
KNOWN_MS = 90 * 86_400_000


class Attempt(NamedTuple):
    """An attempt that was counted; `wait_ms` is 0, or how long it must wait before its check.

    Shapes: `source` stands for the caller's network, as a keyed hash.
    """

    login: Login
    method: Method
    source: str
    is_network_unknown: bool
    wait_ms: int


class Attempts:
    """Counts attempts by password and by code.

    A login without an account is counted as any other, so that a wait reveals no account.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._clock = clock

    async def is_known(self, login: Login, source: str) -> bool:
        """Whether the login's owner has signed in from this network before.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(login.key(f"KNOWN#{source}"))
        return item is not None and int(item["until"]) > self._clock.now_ms()

    async def begin(self, login: Login, method: Method, source: str) -> Attempt:
        """Count an attempt; only one that need not wait may be checked.

        Units: milliseconds.
        DynamoDB: one GetItem and one conditional update, a second one for an unknown
        network, and one
        more for each counter that starts again.
        """
        is_network_unknown = not await self.is_known(login, source)
        wait_ms = await self._count_own(login, method, source)
        if is_network_unknown and not wait_ms:
            wait_ms = await self._count_unknown_network(login, method)
        return Attempt(login, method, source, is_network_unknown, wait_ms)

    async def succeed(self, attempt: Attempt, *, is_owner: bool) -> None:
        """Forget the failures of the network, and remember it where the caller is the owner.

        The owner is who has proved the phone by a code: now, or when the password was set.

        DynamoDB: one transaction. A repeat returns an unknown network's attempt once more.
        """
        login, now_ms = attempt.login, self._clock.now_ms()
        writes: list[Write] = [Delete(key=login.key(_own(attempt.method, attempt.source)))]
        if is_owner:
            key, until_ms = login.key(f"KNOWN#{attempt.source}"), now_ms + KNOWN_MS
            item = {"PK": key.pk, "SK": key.sk, "until": until_ms, "ttl": until_ms // 1000 + 3600}
            writes.append(Put(item=item))
        if attempt.is_network_unknown:
            values = {":now": now_ms, ":interval": UNKNOWN_NETWORKS_EVERY_MS}
            expression = "SET fullAt = if_not_exists(fullAt, :now) - :interval"
            key = login.key(_unknown_networks(attempt.method))
            writes.append(Update(key=key, expression=expression, values=values))
        await self._table.transact(writes)

    async def _count_own(self, login: Login, method: Method, source: str) -> int:
        """Count an attempt of one network; 0, or how long it is still locked out."""
        now_ms, key = self._clock.now_ms(), login.key(_own(method, source))
        start_ms = now_ms - LOCKOUT_MS
        count = Update(
            key=key,
            expression="SET failures = if_not_exists(failures, :zero) + :one, "
            "since = if_not_exists(since, :now), #ttl = :ttl",
            condition="attribute_not_exists(PK) OR (since > :start AND failures < :max)",
            names={"#ttl": "ttl"},
            values={
                ":zero": 0, ":one": 1, ":now": now_ms, ":start": start_ms, ":max": FAILURES_MAX,
                ":ttl": _ttl(now_ms + LOCKOUT_MS),
            },
        )  # fmt: skip
        try:
            await self._table.transact([count])
        except TransactionCancelled as cancelled:
            before = cancelled.reasons[0].item or {}
            since_ms = int(before.get("since", 0))
            if since_ms > start_ms:
                return since_ms - start_ms
            return await self._restart_own(login, method, source)
        return 0

    async def _restart_own(self, login: Login, method: Method, source: str) -> int:
        """Count the first attempt after the window; of several at once each counts."""
        now_ms, key = self._clock.now_ms(), login.key(_own(method, source))
        fields = {"failures": 1, "since": now_ms, "ttl": _ttl(now_ms + LOCKOUT_MS)}
        update = set_fields(key, fields, condition="since <= :start")
        values = {**update.values, ":start": now_ms - LOCKOUT_MS}
        try:
            await self._table.transact([msgspec.structs.replace(update, values=values)])
        except TransactionCancelled:
            return await self._count_own(login, method, source)
        return 0

    async def _count_unknown_network(self, login: Login, method: Method) -> int:
        """Count an attempt in the bucket of all unknown networks; 0, or the time until it has room.

        Shapes: `fullAt` is when the bucket is full again, as in a virtual scheduling algorithm.
        Source: ITU-T I.371 annex A, the generic cell rate algorithm.
        """
        now_ms, key = self._clock.now_ms(), login.key(_unknown_networks(method))
        room_ms = (UNKNOWN_NETWORKS_BURST - 1) * UNKNOWN_NETWORKS_EVERY_MS
        ttl = _ttl(now_ms + room_ms)
        count = Update(
            key=key,
            expression="SET fullAt = fullAt + :interval, #ttl = :ttl",
            condition="fullAt > :now AND fullAt <= :limit",
            names={"#ttl": "ttl"},
            values={
                ":interval": UNKNOWN_NETWORKS_EVERY_MS, ":now": now_ms, ":limit": now_ms + room_ms,
                ":ttl": ttl,
            },
        )  # fmt: skip
        try:
            await self._table.transact([count])
        except TransactionCancelled as cancelled:
            full_at_ms = int((cancelled.reasons[0].item or {}).get("fullAt", 0))
            if full_at_ms > now_ms + room_ms:
                return full_at_ms - now_ms - room_ms
            return await self._start_unknown_networks(login, method)
        return 0

    async def _start_unknown_networks(self, login: Login, method: Method) -> int:
        """Count the first attempt in a full bucket; of several at once each counts."""
        now_ms, key = self._clock.now_ms(), login.key(_unknown_networks(method))
        fields = {
            "fullAt": now_ms + UNKNOWN_NETWORKS_EVERY_MS,
            "ttl": _ttl(now_ms + UNKNOWN_NETWORKS_EVERY_MS),
        }
        update = set_fields(key, fields, condition="attribute_not_exists(PK) OR fullAt <= :now")
        values = {**update.values, ":now": now_ms}
        try:
            await self._table.transact([msgspec.structs.replace(update, values=values)])
        except TransactionCancelled:
            return await self._count_unknown_network(login, method)
        return 0


def _own(method: Method, source: str) -> str:
    return f"TRIES#{method}#{source}"


def _unknown_networks(method: Method) -> str:
    return f"UNKNOWN_NETWORKS#{method}"


def _ttl(until_ms: int) -> int:
    """DynamoDB's expiry of an item that is needed until `until_ms`. Units: Unix seconds."""
    return until_ms // 1000 + 3600
