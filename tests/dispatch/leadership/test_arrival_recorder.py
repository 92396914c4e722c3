"""A rider who was seen at a place is told of once, and a store that is away only delays it."""

import msgspec
import pytest

from dispatch.errors import StoreUnavailable
from dispatch.events.outbox import OutboxEntry
from dispatch.leadership.arrival_recorder import ArrivalRecorder
from dispatch.model import DispatchState, assignment_of
from dispatch.orders.outbox_entry import WORKLOAD_CHANGE, WorkloadChange
from dispatch.tracking.tracking_policy import Arrival
from dispatch.wire import commands
from ledger.dynamodb.table import Query
from tests.dispatch.order_scenario import OrderScenario

pytestmark = pytest.mark.engines


async def accepted_order(shop):
    """An order that rdr_1 has accepted."""
    order_id = await shop.place_order()
    await shop.accept_order(order_id)
    offers = await shop.make_offers(order_id, "rdr_1")
    await shop.accept_delivery(order_id, "rdr_1", offers["rdr_1"])
    return order_id


async def test_customer_and_vendor_get_one_event(order_scenario: OrderScenario):
    """Seen twice and then tapped, a rider's arrival at the pickup is one event for each side."""
    order_id = await accepted_order(order_scenario)
    arrivals = ArrivalRecorder(order_scenario.order_service)
    assert await arrivals.record(Arrival(order_id, "rdr_1", "pickup"))
    assert await arrivals.record(Arrival(order_id, "rdr_1", "pickup"))
    tap = commands.ArrivedPickup(order_id=order_id)
    await order_scenario.order_service.arrived_pickup(order_scenario.caller("rider", "rdr_1"), tap)
    for side in ("user:usr_1", "vendor:ven_1"):
        assert (await order_scenario.event_names(side)).count("rider_arrived") == 1
    assert (await order_scenario.orders.get(order_id)).dispatch.state is DispatchState.AT_PICKUP


async def test_a_node_without_the_lease_notes_it_as_well(order_scenario: OrderScenario):
    """The node that hears the rider is seldom the one whose engine rules."""
    order_id = await accepted_order(order_scenario)
    order_scenario.fence.revoke()
    assert await ArrivalRecorder(order_scenario.order_service).record(
        Arrival(order_id, "rdr_1", "pickup")
    )
    assert (await order_scenario.event_names("user:usr_1")).count("rider_arrived") == 1


async def test_what_was_seen_too_late_is_dropped(order_scenario: OrderScenario):
    """An order that went on meanwhile has no use for it: nothing is told or tried again."""
    order_id = await accepted_order(order_scenario)
    tap = commands.ArrivedPickup(order_id=order_id)
    await order_scenario.order_service.arrived_pickup(order_scenario.caller("rider", "rdr_1"), tap)
    assert await ArrivalRecorder(order_scenario.order_service).record(
        Arrival(order_id, "rdr_1", "pickup")
    )
    assert (await order_scenario.event_names("user:usr_1")).count("rider_arrived") == 1


async def test_a_store_that_is_away_delays_it(
    order_scenario: OrderScenario, monkeypatch: pytest.MonkeyPatch
):
    """An arrival that cannot be written waits for the next try."""

    async def away(*_):
        raise StoreUnavailable("dynamodb", "away")

    monkeypatch.setattr(order_scenario.order_service, "record_arrival", away)
    assert not await ArrivalRecorder(order_scenario.order_service).record(
        Arrival("ord_1", "rdr_1", "pickup")
    )


async def test_a_riders_node_learns_where_his_order_takes_him(order_scenario: OrderScenario):
    """With each state the rider's node is sent the course, and at the end that it is over."""
    order_id = await accepted_order(order_scenario)
    order = await order_scenario.orders.get(order_id)
    assert order is not None
    taken = assignment_of(order)
    command = commands.ReleaseDelivery(order_id=order_id, reason="flat tyre")
    await order_scenario.order_service.release_delivery(
        order_scenario.caller("rider", "rdr_1"), command
    )
    duties = await written_workload_changes(order_scenario)
    assert duties == [
        WorkloadChange(order_id=order_id, carries=True, assignment=taken),
        WorkloadChange(order_id=order_id, carries=False),
    ]


async def written_workload_changes(shop):
    """What the outbox says to the riders' nodes, in order."""
    pages = [
        await shop.table.query(Query(pk=f"OUTBOX#{shard}", prefix="ENTRY#", limit=64))
        for shard in range(8)
    ]
    entries = [
        msgspec.json.decode(i["entry"], type=OutboxEntry) for page in pages for i in page.items
    ]
    says = [
        s
        for e in sorted(entries, key=lambda e: e.entry_id)
        for s in e.events
        if s.name == WORKLOAD_CHANGE
    ]
    return [msgspec.json.decode(each.body, type=WorkloadChange) for each in says]
