"""A rider who was seen at a place is told of once, and a store that is away only delays it."""

import msgspec
import pytest

from dispatch.errors import StoreUnavailable
from dispatch.events.outbox import Entry
from dispatch.leadership.arrival_recorder import Arrivals
from dispatch.model import DispatchState, course_of
from dispatch.orders.unit_of_work import DUTY, Duty
from dispatch.tracking.tracking_policy import Arrival
from dispatch.wire import commands
from ledger.dynamodb.table import Query
from tests.dispatch.conftest import Shop

pytestmark = pytest.mark.engines


async def on_the_way(shop):
    """An order that rdr_1 has accepted."""
    order_id = await shop.place()
    await shop.accept(order_id)
    offers = await shop.offer(order_id, "rdr_1")
    await shop.take(order_id, "rdr_1", offers["rdr_1"])
    return order_id


async def test_customer_and_vendor_hear_of_it_once(shop: Shop):
    """Seen twice and then tapped, a rider's arrival at the pickup is one event for each side."""
    order_id = await on_the_way(shop)
    arrivals = Arrivals(shop.flow)
    assert await arrivals.note(Arrival(order_id, "rdr_1", "pickup"))
    assert await arrivals.note(Arrival(order_id, "rdr_1", "pickup"))
    tap = commands.ArrivedPickup(order_id=order_id)
    await shop.flow.arrived_pickup(shop.as_("rider", "rdr_1"), tap)
    for side in ("user:usr_1", "vendor:ven_1"):
        assert (await shop.told(side)).count("rider_arrived") == 1
    assert (await shop.orders.get(order_id)).dispatch.state is DispatchState.AT_PICKUP


async def test_a_node_without_the_lease_notes_it_as_well(shop: Shop):
    """The node that hears the rider is seldom the one whose engine rules."""
    order_id = await on_the_way(shop)
    shop.fence.close()
    assert await Arrivals(shop.flow).note(Arrival(order_id, "rdr_1", "pickup"))
    assert (await shop.told("user:usr_1")).count("rider_arrived") == 1


async def test_what_was_seen_too_late_is_dropped(shop: Shop):
    """An order that went on meanwhile has no use for it: nothing is told or tried again."""
    order_id = await on_the_way(shop)
    tap = commands.ArrivedPickup(order_id=order_id)
    await shop.flow.arrived_pickup(shop.as_("rider", "rdr_1"), tap)
    assert await Arrivals(shop.flow).note(Arrival(order_id, "rdr_1", "pickup"))
    assert (await shop.told("user:usr_1")).count("rider_arrived") == 1


async def test_a_store_that_is_away_delays_it(shop: Shop, monkeypatch: pytest.MonkeyPatch):
    """An arrival that cannot be written waits for the next try."""

    async def away(*_):
        raise StoreUnavailable("dynamodb", "away")

    monkeypatch.setattr(shop.flow, "note_arrival", away)
    assert not await Arrivals(shop.flow).note(Arrival("ord_1", "rdr_1", "pickup"))


async def test_a_riders_node_learns_where_his_order_takes_him(shop: Shop):
    """With each state the rider's node is sent the course, and at the end that it is over."""
    order_id = await on_the_way(shop)
    order = await shop.orders.get(order_id)
    assert order is not None
    taken = course_of(order)
    command = commands.ReleaseDelivery(order_id=order_id, reason="flat tyre")
    await shop.flow.release_delivery(shop.as_("rider", "rdr_1"), command)
    duties = await written_duties(shop)
    assert duties == [
        Duty(order_id=order_id, carries=True, course=taken),
        Duty(order_id=order_id, carries=False),
    ]


async def written_duties(shop):
    """What the outbox says to the riders' nodes, in order."""
    pages = [
        await shop.table.query(Query(pk=f"OUTBOX#{shard}", prefix="ENTRY#", limit=64))
        for shard in range(8)
    ]
    entries = [msgspec.json.decode(i["entry"], type=Entry) for page in pages for i in page.items]
    says = [s for e in sorted(entries, key=lambda e: e.entry_id) for s in e.says if s.name == DUTY]
    return [msgspec.json.decode(each.body, type=Duty) for each in says]
