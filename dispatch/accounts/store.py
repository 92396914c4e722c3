"""Accounts: who signs in with which phone, how often he failed, and the codes he was sent."""

from typing import Any, NamedTuple

import msgspec

from dispatch.catalogue.store import profile_key as vendor_key
from dispatch.clock import Clock
from dispatch.errors import Refusal, Refused
from dispatch.ids import new_id
from dispatch.model import Record
from dispatch.riders.store import profile_key as rider_key
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.item_patch import set_fields
from dispatch.wire.http.base import OwnerType
from ledger.dynamodb.table import (
    Delete,
    Key,
    Put,
    Table,
    TransactionCancelled,
    Update,
    Write,
)

# Source: security rules, lockout after five failures; codes have five tries within five minutes.
FAILURES_MAX = 5
LOCKOUT_MS = 15 * 60_000
CODE_TRIES_MAX = 5
CODE_TTL_MS = 5 * 60_000

_PREFIX = {"USER": "usr", "VENDOR": "ven", "RIDER": "rdr"}


class Login(NamedTuple):
    """By what somebody signs in: the same phone may be a customer's and a rider's."""

    user_type: OwnerType
    phone: str

    @property
    def label(self) -> str:
        """The login in one word."""
        return f"{self.user_type}:{self.phone}"

    def key(self, facet: str) -> Key:
        """Where something about it is kept."""
        return Key(f"LOGIN#{self.user_type}#{self.phone}", facet)


def parse_login(user_type: OwnerType, phone: str) -> Login:
    """A phone however it was written, as one login.

    Errors: Refused MALFORMED where there are too few or too many digits for a number.
    """
    digits = "".join(filter(str.isdigit, phone))
    # Source: ITU-T E.164, at most fifteen digits.
    if not 6 <= len(digits) <= 15:
        raise Refused(Refusal.MALFORMED, "`phone` has 6 to 15 digits")
    return Login(user_type, digits)


class Account(Record, frozen=True):
    """Who signs in. Units: Unix milliseconds."""

    user_id: str
    user_type: OwnerType
    created_at: int
    # Sign-ins that began before it are over.
    since: int
    # When he has shown that the phone is his; until then anybody may have made the account.
    proven_at: int | None = None
    password_hash: str | None = None


class NewCredentials(NamedTuple):
    """What is saved with an account that is made, or whose phone was just proven."""

    password_hash: str | None = None
    name: str | None = None
    is_phone_verified: bool = False


class Accounts:
    """Accounts, tries and codes, each by its login.

    Errors: every method raises StoreUnavailable where DynamoDB is away.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._clock = clock

    async def find(self, login: Login) -> Account | None:
        """The account of a login.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(login.key("ACCOUNT"))
        return msgspec.convert(item, Account) if item else None

    async def create(self, login: Login, credentials: NewCredentials) -> Account | None:
        """Make an account, with a profile where its kind has one; None where there is one by now.

        DynamoDB: one transaction of the account and the profile; a repeat changes nothing.
        """
        now_ms = self._clock.now_ms()
        account = Account(
            user_id=new_id(_PREFIX[login.user_type]),
            user_type=login.user_type,
            created_at=now_ms,
            since=now_ms,
            proven_at=now_ms if credentials.is_phone_verified else None,
            password_hash=credentials.password_hash,
        )
        key = login.key("ACCOUNT")
        item = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(account)}
        writes: list[Write] = [Put(item=item, condition="attribute_not_exists(PK)")]
        profile = _profile_writes(
            login, account.user_id, {"name": credentials.name, "phone": f"+{login.phone}"}
        )
        try:
            await self._table.transact([*writes, *profile])
        except TransactionCancelled:
            return None
        return account

    async def verify_phone(
        self, login: Login, account: Account, credentials: NewCredentials
    ) -> Account:
        """The phone is his: a password that nobody had proven is forgotten, a new one is set.

        Where it changes, every sign-in until now is over. The account after it.

        DynamoDB: one UpdateItem; a repeat changes nothing but times.
        """
        now_ms = self._clock.now_ms()
        kept = account.password_hash if account.proven_at is not None else None
        password_hash = credentials.password_hash or kept
        has_changed = password_hash != account.password_hash
        changed = msgspec.structs.replace(
            account,
            proven_at=account.proven_at or now_ms,
            password_hash=password_hash,
            since=now_ms if has_changed else account.since,
        )
        fields: dict[str, Any] = {"provenAt": changed.proven_at, "since": changed.since}
        sets = ", ".join(f"{name} = :{name}" for name in fields)
        values = {f":{name}": value for name, value in fields.items()}
        if password_hash is None:
            expression = f"SET {sets} REMOVE passwordHash"
        else:
            expression = f"SET {sets}, passwordHash = :hash"
            values[":hash"] = password_hash
        update = Update(
            key=login.key("ACCOUNT"),
            expression=expression,
            condition="attribute_exists(PK)",
            values=values,
        )
        await self._table.transact([update])
        return changed

    async def count_try(self, login: Login) -> int:
        """Count a try before it is looked at; how long until there may be one, 0 where this may.

        A login without an account is counted alike, so that nobody learns of the difference.

        Units: milliseconds.
        DynamoDB: one conditional update, and another one where the last lock is over.
        """
        now_ms = self._clock.now_ms()
        start_ms = now_ms - LOCKOUT_MS
        one_more = Update(
            key=login.key("TRIES"),
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
            await self._table.transact([one_more])
        except TransactionCancelled as cancelled:
            before = cancelled.reasons[0].item or {}
            since_ms = int(before.get("since", 0))
            if since_ms > start_ms:
                return since_ms - start_ms
            return await self._restart_tries(login, now_ms)
        return 0

    async def _restart_tries(self, login: Login, now_ms: int) -> int:
        """The first try after a time without; of several at once each counts."""
        fields = {"failures": 1, "since": now_ms, "ttl": _ttl(now_ms + LOCKOUT_MS)}
        over = set_fields(login.key("TRIES"), fields, condition="since <= :start")
        begin = msgspec.structs.replace(over, values={**over.values, ":start": now_ms - LOCKOUT_MS})
        try:
            await self._table.transact([begin])
        except TransactionCancelled:
            return await self.count_try(login)
        return 0

    async def clear_tries(self, login: Login) -> None:
        """He has shown who he is; what failed before does not count.

        DynamoDB: one DeleteItem; idempotent.
        """
        await self._table.transact([Delete(key=login.key("TRIES"))])

    async def save_code(self, login: Login, code_hash: str) -> None:
        """Keep the code that is sent, sealed, in the place of an older one.

        DynamoDB: one PutItem.
        """
        key, now_ms = login.key("CODE"), self._clock.now_ms()
        item = {
            "PK": key.pk,
            "SK": key.sk,
            "codeHash": code_hash,
            "tries": 0,
            "until": now_ms + CODE_TTL_MS,
            "ttl": _ttl(now_ms + CODE_TTL_MS),
        }
        await self._table.transact([Put(item=item)])

    async def consume_code(self, login: Login, code_hash: str) -> bool:
        """Whether that is the code that was sent; it is good once.

        DynamoDB: two conditional writes. The first counts the try, so that a thousand guesses at
        once are five; the second takes the code where it is the right one.
        """
        values = {":one": 1, ":max": CODE_TRIES_MAX, ":now": self._clock.now_ms()}
        key = login.key("CODE")
        count = Update(
            key=key,
            expression="SET tries = tries + :one",
            condition="tries < :max AND #until > :now",
            names={"#until": "until"},
            values=values,
        )
        take = Delete(key=key, condition="codeHash = :hash", values={":hash": code_hash})
        try:
            await self._table.transact([count])
            await self._table.transact([take])
        except TransactionCancelled:
            return False
        return True


def _profile_writes(login: Login, user_id: str, fields: dict[str, Any]) -> list[Write]:
    """The profile of a new account; customers have none."""
    given = {name: value for name, value in fields.items() if value is not None}
    if login.user_type == "RIDER":
        return [set_fields(rider_key(user_id), {"riderId": user_id, **given})]
    if login.user_type == "VENDOR":
        return [set_fields(vendor_key(user_id), {"vendorId": user_id, **given})]
    return []


def _ttl(until_ms: int) -> int:
    """When DynamoDB may forget it. Units: Unix seconds."""
    return until_ms // 1000 + 3600
