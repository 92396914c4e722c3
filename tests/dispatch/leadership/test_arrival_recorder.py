"""Detected arrivals are written once; an unavailable store only delays them."""

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


async def accepted_order(scenario):
    """An order that rdr_1 has accepted."""
    order_id = await scenario.place_order()
    await scenario.accept_order(order_id)
    offers = await scenario.make_offers(order_id, "rdr_1")
    await scenario.accept_delivery(order_id, "rdr_1", offers["rdr_1"])
    return order_id


async def test_customer_and_vendor_get_one_event(order_scenario: OrderScenario):
    """Detected twice and then confirmed in the app, an arrival is one event for each side."""
    order_id = await accepted_order(order_scenario)
    arrivals = ArrivalRecorder(order_scenario.order_service)
    assert await arrivals.record(Arrival(order_id, "rdr_1", "pickup"))
    assert await arrivals.record(Arrival(order_id, "rdr_1", "pickup"))
    tap = commands.ArrivedPickup(order_id=order_id)
    await order_scenario.order_service.arrived_pickup(order_scenario.caller("rider", "rdr_1"), tap)
    for side in ("user:usr_1", "vendor:ven_1"):
        assert (await order_scenario.event_names(side)).count("rider_arrived") == 1
    assert (await order_scenario.orders.get(order_id)).dispatch.state is DispatchState.AT_PICKUP


async def test_a_node_without_the_lease_records_arrivals_too(order_scenario: OrderScenario):
    """The rider's node is usually not the leader's; its arrival is written all the same."""
    order_id = await accepted_order(order_scenario)
    order_scenario.fence.revoke()
    assert await ArrivalRecorder(order_scenario.order_service).record(
        Arrival(order_id, "rdr_1", "pickup")
    )
    assert (await order_scenario.event_names("user:usr_1")).count("rider_arrived") == 1


async def test_a_late_arrival_is_dropped(order_scenario: OrderScenario):
    """After the app has confirmed the arrival, a detected one writes nothing and is not retried."""
    order_id = await accepted_order(order_scenario)
    tap = commands.ArrivedPickup(order_id=order_id)
    await order_scenario.order_service.arrived_pickup(order_scenario.caller("rider", "rdr_1"), tap)
    assert await ArrivalRecorder(order_scenario.order_service).record(
        Arrival(order_id, "rdr_1", "pickup")
    )
    assert (await order_scenario.event_names("user:usr_1")).count("rider_arrived") == 1


async def test_an_unavailable_store_delays_an_arrival(
    order_scenario: OrderScenario, monkeypatch: pytest.MonkeyPatch
):
    """An arrival that cannot be written must be tried again."""

    async def away(*_):
        raise StoreUnavailable("dynamodb", "away")

    monkeypatch.setattr(order_scenario.order_service, "record_arrival", away)
    assert not await ArrivalRecorder(order_scenario.order_service).record(
        Arrival("ord_1", "rdr_1", "pickup")
    )


async def test_the_riders_node_gets_each_workload_change(order_scenario: OrderScenario):
    """The outbox has the assignment when the rider accepts, and its end when it releases."""
    order_id = await accepted_order(order_scenario)
    order = await order_scenario.orders.get(order_id)
    assert order is not None
    taken = assignment_of(order)
    command = commands.ReleaseDelivery(order_id=order_id, reason="flat tyre")
    await order_scenario.order_service.release_delivery(
        order_scenario.caller("rider", "rdr_1"), command
    )
    changes = await written_workload_changes(order_scenario)
    assert changes == [
        WorkloadChange(order_id=order_id, carries=True, assignment=taken),
        WorkloadChange(order_id=order_id, carries=False),
    ]


async def written_workload_changes(scenario):
    """The workload changes in the outbox, in order."""
    pages = [
        await scenario.table.query(Query(pk=f"OUTBOX#{shard}", prefix="ENTRY#", limit=64))
        for shard in range(8)
    ]
    entries = [
        msgspec.json.decode(item["entry"], type=OutboxEntry)
        for page in pages
        for item in page.items
    ]
    return [
        msgspec.json.decode(event.body, type=WorkloadChange)
        for entry in sorted(entries, key=lambda entry: entry.entry_id)
        for event in entry.events
        if event.name == WORKLOAD_CHANGE
    ]
