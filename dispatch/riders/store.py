"""Riders as the orders see them: who they are, how they have done, what they carry now."""

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

# Source: wire contract, rider score; what stands for a rider of whom nothing is known.
COMPLETION_DEFAULT = 95.0
RATING_DEFAULT = 4.5
# A rider's own figures count from this many on; before that one bad day would bury him.
HISTORY_MIN = 10

# The attribute that says a rider carries an order: flat, so that it can be set and removed without
# a map around it that must exist first.
CARRIED_PREFIX = "carries_"

ReleaseReason = Literal["delivered", "given_back", "called_off"]
_COUNTERS: dict[ReleaseReason, str | None] = {
    "delivered": "delivered",
    "given_back": "givenBack",
    "called_off": None,
}


class Rider(Record, frozen=True):
    """A rider as he describes himself. Units: Unix milliseconds."""

    rider_id: str
    name: str = ""
    phone: str = ""
    vehicle: str | None = None
    updated_at: int = 0


class Workload(Record, frozen=True):
    """Whether a rider takes orders and until when (Unix ms), and which he carries."""

    available: bool = False
    orders: tuple[str, ...] = ()
    until_ms: int | None = None


class RiderStats(Record, frozen=True):
    """How a rider has done. Units: percent of accepted deliveries, stars out of five."""

    completion: float = COMPLETION_DEFAULT
    rating: float = RATING_DEFAULT


def profile_key(rider_id: str) -> Key:
    """Where a rider's profile is kept."""
    return Key(f"RIDER#{rider_id}", "PROFILE")


def workload_key(rider_id: str) -> Key:
    """Where it is kept what a rider carries, and how he has done."""
    return Key(f"RIDER#{rider_id}", "WORKLOAD")


class Riders:
    """Profiles and duty in DynamoDB; the writes of an assignment are built here and sent by it."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = RetryableTable(table)
        self._clock = clock

    async def profile(self, rider_id: str) -> Rider | None:
        """A rider's profile, None where he never saved one.

        DynamoDB: one GetItem, consistent.
        """
        item = await self._table.get(profile_key(rider_id))
        return msgspec.convert(item, Rider) if item else None

    async def put_profile(self, rider_id: str, patch: RiderProfile) -> Rider:
        """Save what the patch names and keep the rest; the profile after it.

        DynamoDB: one UpdateItem and one GetItem; repeating it changes nothing.
        """
        fields = {**given_fields(patch), "riderId": rider_id, "updatedAt": self._clock.now_ms()}
        await self._table.transact([set_fields(profile_key(rider_id), fields)])
        saved = await self.profile(rider_id)
        assert saved is not None, "a profile that was just saved is there"
        return saved

    async def save_availability(
        self, rider_id: str, *, available: bool, until_ms: int | None = None
    ) -> None:
        """Go on or off duty, perhaps until a moment.

        DynamoDB: one UpdateItem; repeating it changes nothing.
        """
        await self._table.transact(
            [set_availability(rider_id, available=available, until_ms=until_ms)]
        )

    async def workload(self, rider_id: str) -> Workload:
        """Whether the rider takes orders, and which he carries.

        DynamoDB: one GetItem, consistent.
        """
        return _workload(await self._table.get(workload_key(rider_id)))

    async def stats(self, rider_id: str) -> RiderStats:
        """How the rider has done; the contract's defaults until there is enough to say.

        DynamoDB: one GetItem, consistent.
        """
        return _stats(await self._table.get(workload_key(rider_id)))

    async def workload_and_stats(self, rider_id: str) -> tuple[Workload, RiderStats]:
        """Both at once.

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
    """The rider goes on or off duty; what he carries stays with him.

    DynamoDB: one unconditional update; repeating it changes nothing.
    """
    return set_fields(workload_key(rider_id), {"available": available, "untilMs": until_ms or 0})


def claim_order(rider_id: str, order_id: str, capacity: int) -> Update:
    """The rider takes one more order.

    DynamoDB: fails where his hands are full or the order is already in them.
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
    """The rider could take one more order.

    DynamoDB: fails where his hands are full.
    """
    assert capacity >= 1
    return Check(
        key=workload_key(rider_id),
        condition="attribute_not_exists(orderCount) OR orderCount < :capacity",
        values={":capacity": capacity},
    )


def release_order(rider_id: str, order_id: str, reason: ReleaseReason = "called_off") -> Update:
    """The order leaves the rider's hands, and how it left them is counted.

    DynamoDB: fails where the order is not in his hands, so that it is counted once.
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
    """A customer's stars for the rider.

    DynamoDB: counts each time it is sent; the order's own condition lets it through once.
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
    taken = delivered + given_back
    return RiderStats(
        completion=100 * delivered / taken if taken >= HISTORY_MIN else COMPLETION_DEFAULT,
        rating=stars / ratings if ratings >= HISTORY_MIN else RATING_DEFAULT,
    )
