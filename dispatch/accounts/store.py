"""Accounts by login: role and phone, password hash, failed sign-ins and one-time codes."""

from typing import Any, NamedTuple

import msgspec

from dispatch.accounts.people import Person, register_person, verify_person_phone
from dispatch.accounts.standing import StandingRules
from dispatch.catalogue.store import profile_key as vendor_key
from dispatch.clock import Clock
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

# Source: docs/http.md, a lockout after five failures; five tries at a code, within five minutes.
FAILURES_MAX = 5
LOCKOUT_MS = 15 * 60_000
CODE_TRIES_MAX = 5
CODE_TTL_MS = 5 * 60_000

_PREFIX = {"USER": "usr", "VENDOR": "ven", "RIDER": "rdr"}


class Login(NamedTuple):
    """Role and phone: the same phone may belong to a customer's and a rider's account.

    Shapes: `phone` in E.164, the form of `dispatch.wire.phones`.
    """

    user_type: OwnerType
    phone: str

    @property
    def label(self) -> str:
        """The login as one string."""
        return f"{self.user_type}:{self.phone}"

    def key(self, facet: str) -> Key:
        """The key of the item `facet` of the login."""
        return Key(f"LOGIN#{self.user_type}#{self.phone}", facet)


class Account(Record, frozen=True):
    """A login's account. Units: Unix milliseconds."""

    user_id: str
    user_type: OwnerType
    created_at: int
    # Sign-ins that started before it have ended.
    sessions_valid_from: int
    # When the owner proved the phone by a code; until then anyone may have made the account.
    phone_verified_at: int | None = None
    password_hash: str | None = None


class NewCredentials(NamedTuple):
    """The credentials of a new account, or of one whose phone was just verified."""

    password_hash: str | None = None
    name: str | None = None
    is_phone_verified: bool = False


class Accounts:
    """Accounts, failed sign-ins and codes, each by login.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, clock: Clock, rules: StandingRules | None = None) -> None:
        self._table = RetryableTable(table)
        self._clock = clock
        self._rules = rules or StandingRules()

    async def find(self, login: Login) -> Account | None:
        """The account of a login, None where there is none.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(login.key("ACCOUNT"))
        return msgspec.convert(item, Account) if item else None

    async def create(self, login: Login, credentials: NewCredentials) -> Account | None:
        """Make an account with its standing, and a profile for vendors and riders.

        None where the account exists.

        DynamoDB: one transaction of account, standing and profile; a repeat changes nothing.
        """
        now_ms = self._clock.now_ms()
        account = Account(
            user_id=new_id(_PREFIX[login.user_type]),
            user_type=login.user_type,
            created_at=now_ms,
            sessions_valid_from=now_ms,
            phone_verified_at=now_ms if credentials.is_phone_verified else None,
            password_hash=credentials.password_hash,
        )
        key = login.key("ACCOUNT")
        item = {"PK": key.pk, "SK": key.sk, **msgspec.to_builtins(account)}
        person = Person(
            person_id=account.user_id,
            user_type=login.user_type,
            standing=self._rules.initial(login.user_type),
            standing_at=now_ms,
            registered_at=now_ms,
            phone=login.phone,
            name=credentials.name,
            phone_verified_at=account.phone_verified_at,
        )
        writes: list[Write] = [
            Put(item=item, condition="attribute_not_exists(PK)"),
            register_person(person, now_ms),
        ]
        profile = _profile_writes(
            login, account.user_id, {"name": credentials.name, "phone": login.phone}
        )
        try:
            await self._table.transact([*writes, *profile])
        except TransactionCancelled:
            return None
        return account

    async def verify_phone(
        self, login: Login, account: Account, credentials: NewCredentials
    ) -> Account:
        """Mark the phone as verified, and set the new password; the account after it.

        A password that was set before the phone was ever verified is dropped. Where the password
        changes, every sign-in so far ends.

        DynamoDB: one transaction of account and standing; a repeat changes nothing but times.
        """
        now_ms = self._clock.now_ms()
        verified_hash = account.password_hash if account.phone_verified_at is not None else None
        password_hash = credentials.password_hash or verified_hash
        has_changed = password_hash != account.password_hash
        changed = msgspec.structs.replace(
            account,
            phone_verified_at=account.phone_verified_at or now_ms,
            password_hash=password_hash,
            sessions_valid_from=now_ms if has_changed else account.sessions_valid_from,
        )
        expression = "SET phoneVerifiedAt = :verified, sessionsValidFrom = :valid"
        values: dict[str, Any] = {
            ":verified": changed.phone_verified_at,
            ":valid": changed.sessions_valid_from,
        }
        if password_hash is None:
            expression += " REMOVE passwordHash"
        else:
            expression += ", passwordHash = :hash"
            values[":hash"] = password_hash
        update = Update(
            key=login.key("ACCOUNT"),
            expression=expression,
            condition="attribute_exists(PK)",
            values=values,
        )
        verified = verify_person_phone(login.user_type, account.user_id, now_ms)
        await self._table.transact([update, verified])
        return changed

    async def count_try(self, login: Login) -> int:
        """Count a sign-in attempt before it is checked; 0, or how long the login is still locked.

        A login without an account is counted too, so that a lock does not reveal accounts.

        Units: milliseconds.
        DynamoDB: one conditional update, and a second one where the last lock has expired.
        """
        now_ms = self._clock.now_ms()
        start_ms = now_ms - LOCKOUT_MS
        count = Update(
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
            await self._table.transact([count])
        except TransactionCancelled as cancelled:
            before = cancelled.reasons[0].item or {}
            since_ms = int(before.get("since", 0))
            if since_ms > start_ms:
                return since_ms - start_ms
            return await self._restart_tries(login, now_ms)
        return 0

    async def _restart_tries(self, login: Login, now_ms: int) -> int:
        """Count the first attempt after the window; of several at once each counts."""
        fields = {"failures": 1, "since": now_ms, "ttl": _ttl(now_ms + LOCKOUT_MS)}
        update = set_fields(login.key("TRIES"), fields, condition="since <= :start")
        values = {**update.values, ":start": now_ms - LOCKOUT_MS}
        restart = msgspec.structs.replace(update, values=values)
        try:
            await self._table.transact([restart])
        except TransactionCancelled:
            return await self.count_try(login)
        return 0

    async def clear_tries(self, login: Login) -> None:
        """Forget failed attempts, after a successful sign-in.

        DynamoDB: one DeleteItem; idempotent.
        """
        await self._table.transact([Delete(key=login.key("TRIES"))])

    async def save_code(self, login: Login, code_hash: str) -> None:
        """Store the hash of a code that is sent, in place of an older one.

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
        """Whether the code is the one that was sent; a code is valid once.

        DynamoDB: two conditional writes. The first counts the attempt, so that a thousand
        concurrent guesses are five; the second deletes the code where it matches.
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
        consume = Delete(key=key, condition="codeHash = :hash", values={":hash": code_hash})
        try:
            await self._table.transact([count])
            await self._table.transact([consume])
        except TransactionCancelled:
            return False
        return True


def _profile_writes(login: Login, user_id: str, fields: dict[str, Any]) -> list[Write]:
    """The write of a new account's profile; customers have none."""
    given = {name: value for name, value in fields.items() if value is not None}
    if login.user_type == "RIDER":
        return [set_fields(rider_key(user_id), {"riderId": user_id, **given})]
    if login.user_type == "VENDOR":
        return [set_fields(vendor_key(user_id), {"vendorId": user_id, **given})]
    return []


def _ttl(until_ms: int) -> int:
    """DynamoDB's expiry of an item that is needed until `until_ms`. Units: Unix seconds."""
    return until_ms // 1000 + 3600
