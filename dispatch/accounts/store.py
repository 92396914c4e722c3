"""Accounts by login: role and phone, password hash, when the phone was verified."""

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
    Key,
    Put,
    Table,
    TransactionCancelled,
    Update,
    Write,
)

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
    """Accounts by login.

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


def _profile_writes(login: Login, user_id: str, fields: dict[str, Any]) -> list[Write]:
    """The write of a new account's profile; customers have none."""
    given = {name: value for name, value in fields.items() if value is not None}
    if login.user_type == "RIDER":
        return [set_fields(rider_key(user_id), {"riderId": user_id, **given})]
    if login.user_type == "VENDOR":
        return [set_fields(vendor_key(user_id), {"vendorId": user_id, **given})]
    return []
