"""Rider store: profiles, workload up to the capacity, completion and rating."""

import asyncio

import msgspec
import pytest

from dispatch.clock import ManualClock
from dispatch.riders.store import (
    HISTORY_MIN,
    ReleaseReason,
    Rider,
    Riders,
    RiderStats,
    Workload,
    check_capacity,
    claim_order,
    rate_rider,
    release_order,
    set_availability,
)
from dispatch.wire.http.profiles import RiderProfile
from ledger.dynamodb.client import DynamoTable
from ledger.dynamodb.table import TransactionCancelled
from ledger.records.cash_holds import CASH_LIMIT_XAF

pytestmark = pytest.mark.engines


@pytest.fixture
def riders(table: DynamoTable, clock: ManualClock) -> Riders:
    return Riders(table, clock)


async def test_unknown_rider_has_defaults(riders: Riders) -> None:
    """A rider without a record is unavailable, carries nothing and has the default figures."""
    assert await riders.profile("rdr_1") is None
    assert await riders.workload_and_stats("rdr_1") == (
        Workload(),
        RiderStats(completion=95.0, rating=4.5),
    )


async def test_patch_changes_only_named_fields(riders: Riders, clock: ManualClock) -> None:
    """Fields that a later patch does not name keep their values."""
    await riders.put_profile("rdr_1", msgspec.convert({"name": "Awa"}, RiderProfile))
    clock.advance(5)
    patch = msgspec.convert({"vehicle": "BICYCLE"}, RiderProfile)
    saved = await riders.put_profile("rdr_1", patch)

    assert saved == Rider(
        rider_id="rdr_1", name="Awa", vehicle="BICYCLE", updated_at=clock.now_ms()
    )


async def test_workload_grows_and_shrinks(riders: Riders, table: DynamoTable) -> None:
    """A claimed order is carried until it is released, also while the rider is unavailable."""
    await table.transact([set_availability("rdr_1", available=True)])
    await table.transact([claim_order("rdr_1", "ord_1", 2)])
    await table.transact([claim_order("rdr_1", "ord_2", 2)])
    both = await riders.workload("rdr_1")
    await table.transact([set_availability("rdr_1", available=False)])
    await table.transact([release_order("rdr_1", "ord_1")])

    assert both == Workload(available=True, orders=("ord_1", "ord_2"))
    assert await riders.workload("rdr_1") == Workload(available=False, orders=("ord_2",))


async def test_claim_above_capacity_fails(riders: Riders, table: DynamoTable) -> None:
    """A claim above the capacity, or of a carried order, fails and changes nothing."""
    await table.transact([claim_order("rdr_1", "ord_1", 1)])
    with pytest.raises(TransactionCancelled):
        await table.transact([claim_order("rdr_1", "ord_2", 1)])
    with pytest.raises(TransactionCancelled):
        await table.transact([claim_order("rdr_1", "ord_1", 5)])

    assert (await riders.workload("rdr_1")).orders == ("ord_1",)


async def test_one_of_many_claims_wins(riders: Riders, table: DynamoTable) -> None:
    """Of twenty concurrent claims at a capacity of one exactly one succeeds."""
    outcomes = await asyncio.gather(
        *(table.transact([claim_order("rdr_1", f"ord_{i}", 1)]) for i in range(20)),
        return_exceptions=True,
    )

    assert outcomes.count(None) == 1
    assert sum(isinstance(each, TransactionCancelled) for each in outcomes) == 19
    assert len((await riders.workload("rdr_1")).orders) == 1


async def test_release_counts_once(riders: Riders, table: DynamoTable) -> None:
    """Releasing an order that the rider does not carry fails and changes no count."""
    await table.transact([claim_order("rdr_1", "ord_1", 1)])
    await table.transact([release_order("rdr_1", "ord_1", "delivered")])
    with pytest.raises(TransactionCancelled):
        await table.transact([release_order("rdr_1", "ord_1", "delivered")])
    with pytest.raises(TransactionCancelled):
        await table.transact([release_order("rdr_2", "ord_1")])
    await table.transact([claim_order("rdr_1", "ord_2", 1)])

    assert (await riders.workload("rdr_1")).orders == ("ord_2",)


async def claim_and_release(table: DynamoTable, ending: ReleaseReason, times: int) -> None:
    for i in range(times):
        order_id = f"{ending}_{i}"
        await table.transact([claim_order("rdr_1", order_id, 1)])
        await table.transact([release_order("rdr_1", order_id, ending)])


async def test_completion_counts_own_deliveries(riders: Riders, table: DynamoTable) -> None:
    """Completion is delivered of accepted orders; cancelled ones do not count."""
    await claim_and_release(table, "delivered", 8)
    await claim_and_release(table, "called_off", 5)
    before = await riders.stats("rdr_1")
    await claim_and_release(table, "given_back", 2)

    assert before.completion == 95.0
    assert (await riders.stats("rdr_1")).completion == 80.0


async def test_rating_needs_a_history(riders: Riders, table: DynamoTable) -> None:
    """A rider has the default rating until there are enough ratings for its own mean."""
    await table.transact([rate_rider("rdr_1", 1)])
    early = await riders.stats("rdr_1")
    for _ in range(HISTORY_MIN - 1):
        await table.transact([rate_rider("rdr_1", 5)])

    assert early.rating == 4.5
    assert (await riders.stats("rdr_1")).rating == 4.6


async def test_check_fails_at_capacity(riders: Riders, table: DynamoTable) -> None:
    """The check passes below the capacity and fails at it."""
    await table.transact([check_capacity("rdr_1", 1)])
    await table.transact([claim_order("rdr_1", "ord_1", 1)])
    with pytest.raises(TransactionCancelled):
        await table.transact([check_capacity("rdr_1", 1)])
    await table.transact([check_capacity("rdr_1", 2)])


async def test_availability_may_have_an_end(riders: Riders, table: DynamoTable) -> None:
    """The end of the availability is kept until the next change."""
    await table.transact([set_availability("rdr_1", available=True, until_ms=5_000)])
    assert await riders.workload("rdr_1") == Workload(available=True, until_ms=5_000)
    await table.transact([set_availability("rdr_1", available=True)])
    assert (await riders.workload("rdr_1")).until_ms is None


async def test_headroom_without_cash_is_the_limit(riders: Riders) -> None:
    """A rider that holds no cash may collect up to the limit."""
    assert await riders.cash_headroom("rdr_1") == CASH_LIMIT_XAF
