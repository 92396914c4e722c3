"""Rider store: profiles, availability and workload, completion and rating."""

from typing import Any, Literal

import msgspec

from dispatch.clock import Clock
from dispatch.model import Record
from dispatch.storage.dynamodb_errors import RetryableTable
from dispatch.storage.item_patch import given_fields, set_fields
from dispatch.wire.http.profiles import RiderProfile
from ledger.core.accounts import balance_key, rider_cash
from ledger.dynamodb.table import Check, Key, Table, Update
from ledger.records.cash_holds import CASH_LIMIT_XAF

# The figures of a rider without enough history. Source: docs/contract.md, rider score.
COMPLETION_DEFAULT = 95.0
RATING_DEFAULT = 4.5
# From this many deliveries or ratings on a rider's own figures count.
# Source: chosen; with fewer, one bad day would outweigh everything else.
HISTORY_MIN = 10

# Prefix of the attribute of each carried order. They are top-level attributes, since one inside a
# map can only be set where the map exists.
CARRIED_PREFIX = "carries_"

ReleaseReason = Literal["delivered", "given_back", "called_off"]
_COUNTERS: dict[ReleaseReason, str | None] = {
    "delivered": "delivered",
    "given_back": "givenBack",
    "called_off": None,
}


class Rider(Record, frozen=True):
    """A rider's profile. Units: Unix milliseconds."""

    rider_id: str
    name: str = ""
    phone: str = ""
    vehicle: str | None = None
    updated_at: int = 0


class Workload(Record, frozen=True):
    """Whether a rider takes orders, until when, and which ones it carries. Units: Unix ms."""

    available: bool = False
    orders: tuple[str, ...] = ()
    until_ms: int | None = None


class RiderStats(Record, frozen=True):
    """A rider's completion and rating. Units: percent of accepted deliveries, stars out of five."""

    completion: float = COMPLETION_DEFAULT
    rating: float = RATING_DEFAULT


def profile_key(rider_id: str) -> Key:
    """The key of a rider's profile."""
    return Key(f"RIDER#{rider_id}", "PROFILE")


def workload_key(rider_id: str) -> Key:
    """The key of a rider's workload and statistics."""
    return Key(f"RIDER#{rider_id}", "WORKLOAD")


class Riders:
    """Profiles, workload and statistics in DynamoDB.

    The functions below build the writes that are part of an order's transaction.

    Errors: every method raises StoreUnavailable where DynamoDB cannot answer.
    """

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._clock = clock

    async def profile(self, rider_id: str) -> Rider | None:
        """A rider's profile, None where there is none.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(profile_key(rider_id))
        return msgspec.convert(item, Rider) if item else None

    async def put_profile(self, rider_id: str, patch: RiderProfile) -> Rider:
        """Set the fields that the patch names; the profile after it.

        DynamoDB: one UpdateItem and one GetItem; a repeat changes nothing.
        """
        fields = {**given_fields(patch), "riderId": rider_id, "updatedAt": self._clock.now_ms()}
        await self._table.transact([set_fields(profile_key(rider_id), fields)])
        saved = await self.profile(rider_id)
        assert saved is not None, "a saved profile can be read"
        return saved

    async def workload(self, rider_id: str) -> Workload:
        """Whether the rider takes orders, and which ones it carries.

        DynamoDB: one GetItem, consistent.
        """
        return _workload(await self._table.get(workload_key(rider_id)))

    async def stats(self, rider_id: str) -> RiderStats:
        """The rider's completion and rating; the contract's defaults until there is enough history.

        DynamoDB: one GetItem, consistent.
        """
        return _stats(await self._table.get(workload_key(rider_id)))

    async def workload_and_stats(self, rider_id: str) -> tuple[Workload, RiderStats]:
        """Workload and statistics in one read.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(workload_key(rider_id))
        return _workload(item), _stats(item)

    async def cash_headroom(self, rider_id: str) -> int:
        """How much cash the rider may still collect. Units: whole XAF.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(balance_key(rider_cash(rider_id)))
        return max(0, CASH_LIMIT_XAF - int(item.get("exposure", 0))) if item else CASH_LIMIT_XAF


def set_availability(rider_id: str, *, available: bool, until_ms: int | None = None) -> Update:
    """The write of a rider's availability; carried orders are not changed.

    DynamoDB: one unconditional update; a repeat changes nothing.
    """
    return set_fields(workload_key(rider_id), {"available": available, "untilMs": until_ms or 0})


def claim_order(rider_id: str, order_id: str, capacity: int) -> Update:
    """The write that adds an order to a rider's workload.

    DynamoDB: fails where the rider carries `capacity` orders, or this one, already.
    """
    assert capacity >= 1
    return Update(
        key=workload_key(rider_id),
        expression="SET #order = :one, orderCount = if_not_exists(orderCount, :zero) + :one",
        condition="attribute_not_exists(#order) "
        "AND (attribute_not_exists(orderCount) OR orderCount < :capacity)",
        names={"#order": f"{CARRIED_PREFIX}{order_id}"},
        values={":zero": 0, ":one": 1, ":capacity": capacity},
    )


def check_capacity(rider_id: str, capacity: int) -> Check:
    """The check that a rider could take one more order.

    DynamoDB: fails where the rider carries `capacity` orders already.
    """
    assert capacity >= 1
    return Check(
        key=workload_key(rider_id),
        condition="attribute_not_exists(orderCount) OR orderCount < :capacity",
        values={":capacity": capacity},
    )


def release_order(rider_id: str, order_id: str, reason: ReleaseReason = "called_off") -> Update:
    """The write that removes an order from a rider's workload and counts how it ended.

    DynamoDB: fails where the rider does not carry the order, so that it is counted once.
    """
    sets = "orderCount = orderCount - :one"
    names = {"#order": f"{CARRIED_PREFIX}{order_id}"}
    values = {":one": 1}
    counter = _COUNTERS[reason]
    if counter is not None:
        sets += ", #counter = if_not_exists(#counter, :zero) + :one"
        names["#counter"] = counter
        values[":zero"] = 0
    return Update(
        key=workload_key(rider_id),
        expression=f"SET {sets} REMOVE #order",
        condition="attribute_exists(#order)",
        names=names,
        values=values,
    )


def rate_rider(rider_id: str, stars: int) -> Update:
    """The write that adds a customer's rating to a rider's statistics. Units: stars, 1 to 5.

    DynamoDB: unconditional; the order's condition in the same transaction lets it happen once.
    """
    assert 1 <= stars <= 5
    return Update(
        key=workload_key(rider_id),
        expression=(
            "SET stars = if_not_exists(stars, :zero) + :stars, "
            "ratings = if_not_exists(ratings, :zero) + :one"
        ),
        values={":zero": 0, ":one": 1, ":stars": stars},
    )


def _workload(item: dict[str, Any] | None) -> Workload:
    if item is None:
        return Workload()
    carried = (
        name.removeprefix(CARRIED_PREFIX) for name in item if name.startswith(CARRIED_PREFIX)
    )
    return Workload(
        available=bool(item.get("available")),
        orders=tuple(sorted(carried)),
        until_ms=int(item.get("untilMs") or 0) or None,
    )


def _stats(item: dict[str, Any] | None) -> RiderStats:
    if item is None:
        return RiderStats()
    delivered, given_back = item.get("delivered", 0), item.get("givenBack", 0)
    stars, ratings = item.get("stars", 0), item.get("ratings", 0)
    accepted = delivered + given_back
    return RiderStats(
        completion=100 * delivered / accepted if accepted >= HISTORY_MIN else COMPLETION_DEFAULT,
        rating=stars / ratings if ratings >= HISTORY_MIN else RATING_DEFAULT,
    )
