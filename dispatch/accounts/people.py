"""People: the standing of customers, vendors and riders in DynamoDB, and the lists of them."""

from collections.abc import Sequence
from typing import Any

import msgspec

from dispatch.accounts.standing import (
    BARRED,
    LIST_SHARDS,
    Standing,
    StandingRules,
    not_approved,
    people_by_standing_pk,
    people_pk,
    standing_key,
)
from dispatch.ids import new_id
from dispatch.model import Record
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.item_patch import set_fields
from dispatch.storage.paging import PageRequest
from dispatch.storage.sharded_list import ListShard, query_shards, shard_of
from dispatch.wire.http.base import OwnerType
from ledger.dynamodb.table import Key, Put, Query, Table, Update, time_sort_key
from ledger.records.wallets import ACTIVE

# Partition of the changes of standing, read by every node.
_NOTICES_PK = "STANDING#NOTICES"
# Source: a node that starts reads the barred people themselves; one that runs reads seconds. A day
# covers any pause between.
NOTICE_TTL_MS = 86_400_000
NOTICES_PER_READ = 100
# Pages that one search reads at most, so that a rare text does not read a whole list.
SEARCH_PAGES_MAX = 10
SEARCH_PAGE_SIZE = 100


class Person(Record, frozen=True):
    """A customer, vendor or rider: its standing, and what it registered with.

    `standing` is None for an id that no account was made for and no operator decided about.
    Units: Unix milliseconds.
    """

    person_id: str
    user_type: OwnerType
    standing: Standing | None = None
    # Counts the changes of standing.
    standing_version: int = 0
    reason: str = ""
    # The operator who decided, and when.
    by: str | None = None
    standing_at: int | None = None
    # When the account was made here.
    registered_at: int | None = None
    phone: str | None = None
    name: str | None = None
    phone_verified_at: int | None = None
    # Sign-ins that started before it have ended.
    sessions_valid_from: int = 0
    wallet_status: str = ACTIVE


class StandingNotice(Record, frozen=True):
    """A change of standing as nodes read it; of two the one with the higher version counts."""

    person_id: str
    user_type: OwnerType
    standing: Standing
    standing_version: int
    reason: str = ""

    @property
    def is_barred(self) -> bool:
        """Whether the person may neither sign in nor connect."""
        return self.standing in BARRED


class People:
    """Reads people; the functions below build the writes that go into transactions.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, rules: StandingRules) -> None:
        self._table = RetryableTable(table)
        self.rules = rules

    async def get(self, user_type: OwnerType, person_id: str) -> Person:
        """A person; one without a standing where nothing is stored.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(standing_key(user_type, person_id))
        if item is None:
            return Person(person_id=person_id, user_type=user_type)
        return msgspec.convert(item, Person)

    async def require_active(self, user_type: OwnerType, person_id: str) -> None:
        """Refuse a person that may not take part now; the writes that matter check it again.

        Errors: Refused NOT_APPROVED.
        DynamoDB: one GetItem, consistent.
        """
        person = await self.get(user_type, person_id)
        if not self.rules.is_active(person.standing):
            raise not_approved(self.rules.effective(person.standing), person.reason)

    async def list_people(
        self, user_type: OwnerType, standing: Standing | None, text: str, page: PageRequest
    ) -> tuple[list[Person], str | None]:
        """One page of the people with a standing, or of all, oldest first in each shard.

        `text` keeps those whose id, name or phone contains it. A page may be short, or empty, and
        still have a cursor: a search reads a bounded part of the list.

        Errors: Refused MALFORMED for a cursor of another list.
        DynamoDB: Query of GSI1 or GSI2, shard by shard.
        """
        shards = [
            ListShard(people_pk(user_type, shard), "GSI1")
            if standing is None
            else ListShard(people_by_standing_pk(user_type, standing, shard), "GSI2")
            for shard in range(LIST_SHARDS)
        ]
        if not text:
            items, cursor = await query_shards(self._table, shards, page)
            return [msgspec.convert(item, Person) for item in items], cursor
        return await self._search(shards, text.casefold(), page)

    async def _search(
        self, shards: Sequence[ListShard], text: str, page: PageRequest
    ) -> tuple[list[Person], str | None]:
        found: list[Person] = []
        cursor = page.cursor
        for _ in range(SEARCH_PAGES_MAX):
            # Never more than fit, so that the cursor stands behind the last one returned.
            size = min(SEARCH_PAGE_SIZE, page.limit - len(found))
            items, cursor = await query_shards(self._table, shards, PageRequest(size, cursor))
            people = [msgspec.convert(item, Person) for item in items]
            found += [person for person in people if _contains(person, text)]
            if cursor is None or len(found) >= page.limit:
                break
        return found, cursor

    async def list_barred(self) -> list[StandingNotice]:
        """The people who are suspended or closed now.

        DynamoDB: Query of GSI2, one for each type, standing and shard, and for each hundred.
        """
        types: tuple[OwnerType, ...] = ("USER", "VENDOR", "RIDER")
        shards = [
            ListShard(people_by_standing_pk(user_type, standing, shard), "GSI2")
            for user_type in types
            for standing in sorted(BARRED)
            for shard in range(LIST_SHARDS)
        ]
        barred: list[StandingNotice] = []
        cursor: str | None = None
        while True:
            page = PageRequest(NOTICES_PER_READ, cursor)
            items, cursor = await query_shards(self._table, shards, page)
            barred += [msgspec.convert(item, StandingNotice) for item in items]
            if cursor is None:
                return barred

    async def notices_since(self, at_ms: int) -> list[StandingNotice]:
        """The changes of standing since a time, newest first. Units: Unix milliseconds.

        DynamoDB: Query, one for each hundred; consistent.
        """
        found: list[StandingNotice] = []
        cursor: str | None = None
        while True:
            page = await self._table.query(
                Query(pk=_NOTICES_PK, limit=NOTICES_PER_READ, cursor=cursor, forward=False)
            )
            recent = [item for item in page.items if item["at"] >= at_ms]
            found += [msgspec.convert(item, StandingNotice) for item in recent]
            cursor = page.cursor
            if cursor is None or len(recent) < len(page.items):
                return found


def _contains(person: Person, text: str) -> bool:
    fields = (person.person_id, person.name or "", person.phone or "")
    return any(text in field.casefold() for field in fields)


def register_person(person: Person, now_ms: int) -> Put:
    """The write of the person whose account is made here.

    DynamoDB: Put STANDING; its id is new.
    """
    key = standing_key(person.user_type, person.person_id)
    fields = {**msgspec.to_builtins(person), **_list_keys(person, now_ms)}
    item = {"PK": key.pk, "SK": key.sk, **fields, **_first_listed(person, now_ms)}
    return Put(item=item, condition="attribute_not_exists(PK)")


def change_standing(before: Person, after: Person, now_ms: int) -> Update:
    """The write of a decision about a person, which counts its version.

    DynamoDB: Update STANDING, created for an id known only from a token; its condition is that
    nothing was decided since `before`.
    """
    fields: dict[str, Any] = {
        "personId": after.person_id,
        "userType": after.user_type,
        "standing": after.standing,
        "standingVersion": after.standing_version,
        "reason": after.reason,
        "by": after.by,
        "standingAt": now_ms,
        **_list_keys(after, now_ms),
    }
    if after.sessions_valid_from > before.sessions_valid_from:
        fields["sessionsValidFrom"] = after.sessions_valid_from
    if before.standing is None:
        fields |= _first_listed(after, now_ms)
    key = standing_key(after.user_type, after.person_id)
    if before.standing_version == 0:
        return set_fields(key, fields, "attribute_not_exists(standingVersion)")
    update = set_fields(key, fields, "standingVersion = :before")
    values = {**update.values, ":before": before.standing_version}
    return msgspec.structs.replace(update, values=values)


def write_notice(person: Person, now_ms: int) -> Put:
    """The write that tells the nodes a person's new standing. DynamoDB: Put."""
    assert person.standing is not None, "a decision sets a standing"
    notice = StandingNotice(
        person_id=person.person_id,
        user_type=person.user_type,
        standing=person.standing,
        standing_version=person.standing_version,
        reason=person.reason,
    )
    item = {
        "PK": _NOTICES_PK,
        "SK": time_sort_key(now_ms, new_id("not")),
        **msgspec.to_builtins(notice),
        "at": now_ms,
        "ttl": (now_ms + NOTICE_TTL_MS) // 1000,
    }
    return Put(item=item, condition="attribute_not_exists(PK)")


def end_sign_ins(user_type: OwnerType, person_id: str, now_ms: int) -> Update:
    """The write that ends every sign-in a person has so far. Units: Unix milliseconds.

    DynamoDB: Update STANDING; later calls move the time forward.
    """
    return _set_person(user_type, person_id, {"sessionsValidFrom": now_ms + 1})


def verify_person_phone(user_type: OwnerType, person_id: str, now_ms: int) -> Update:
    """The write of a proven phone. DynamoDB: Update STANDING."""
    return _set_person(user_type, person_id, {"phoneVerifiedAt": now_ms})


def set_person_wallet(user_type: OwnerType, person_id: str, status: str) -> Update:
    """The write of a wallet's status beside the standing, where every condition sees it.

    DynamoDB: Update STANDING.
    """
    return _set_person(user_type, person_id, {"walletStatus": status})


def _set_person(user_type: OwnerType, person_id: str, fields: dict[str, Any]) -> Update:
    key: Key = standing_key(user_type, person_id)
    return set_fields(key, {"personId": person_id, "userType": user_type, **fields})


def _list_keys(person: Person, now_ms: int) -> dict[str, str]:
    """The keys of the list by standing."""
    assert person.standing is not None
    shard = shard_of(person.person_id, LIST_SHARDS)
    return {
        "GSI2PK": people_by_standing_pk(person.user_type, person.standing, shard),
        "GSI2SK": time_sort_key(now_ms, person.person_id),
    }


def _first_listed(person: Person, now_ms: int) -> dict[str, str]:
    """The keys of the list of all people, which never change."""
    shard = shard_of(person.person_id, LIST_SHARDS)
    return {
        "GSI1PK": people_pk(person.user_type, shard),
        "GSI1SK": time_sort_key(now_ms, person.person_id),
    }
