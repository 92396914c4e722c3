"""The rider registry: workload, attributes and freshness of riders, and what the index gets."""

import pytest

from dispatch.model import Presence
from dispatch.tracking.rider_state import RiderAttributes
from dispatch.wire.commands import Fix
from tests.dispatch.tracking.node import FRESH_MS, LOST_MS, Node, fix


async def test_duty_reaches_the_index_without_a_new_fix():
    """Orders, offers and attributes change the index entry although no fix came."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    await node.writer.flush()
    node.rider_registry.assign("rdr_1", "ord_1")
    await node.writer.flush()
    [update] = node.redis.find_rider("rdr_1")
    assert (update.facts.available, update.facts.active) == (True, 1)
    node.rider_registry.release("rdr_1", "ord_1")
    node.rider_registry.record_offer("rdr_1", node.clock.now_ms())
    node.rider_registry.set_attributes(
        "rdr_1", RiderAttributes(name="Awa", vehicle="FOOT", rating=4.9, capacity=2)
    )
    await node.writer.flush()
    [update] = node.redis.find_rider("rdr_1")
    assert (update.facts.active, update.facts.capacity, update.facts.recent_offers) == (0, 2, 1)
    assert (update.facts.name, update.facts.vehicle, update.facts.rating) == ("Awa", "FOOT", 4.9)
    rider = node.rider_registry.get("rdr_1")
    assert rider is not None
    assert rider.speed_max_mps == 20.0


async def test_off_duty_leaves_the_index_at_once():
    """Off duty the next flush removes a rider, and its later fixes do not bring it back."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    await node.writer.flush()
    node.rider_registry.set_available("rdr_1", available=False)
    await node.writer.flush()
    assert node.redis.find_rider("rdr_1") == []
    node.report("rdr_1", fix(10))
    await node.writer.flush()
    assert node.redis.find_rider("rdr_1") == []
    node.rider_registry.set_available("rdr_1", available=True)
    await node.writer.flush()
    assert len(node.redis.find_rider("rdr_1")) == 1


async def test_an_off_duty_rider_with_an_order_stays_in_the_index():
    """A rider that goes off duty with an order is indexed until the order is released."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.report("rdr_1", fix())
    node.rider_registry.set_available("rdr_1", available=False)
    await node.writer.flush()
    [update] = node.redis.find_rider("rdr_1")
    assert not update.facts.available
    node.rider_registry.release("rdr_1", "ord_1")
    await node.writer.flush()
    assert node.redis.find_rider("rdr_1") == []


async def test_a_rider_without_a_fix_is_not_written():
    """Changes of a rider that has never reported are not queued for Redis."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.rider_registry.set_available("rdr_1", available=False)
    await node.writer.flush()
    assert len(node.writer) == 0
    assert node.redis.batches == []


async def test_rider_state_outlives_a_lost_connection():
    """A closed socket leaves the state until the rider is lost; two sockets share one state."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    rider = node.rider_registry.connect("rdr_1")
    node.report("rdr_1", fix())
    node.rider_registry.disconnect("rdr_1")
    node.rider_registry.disconnect("rdr_1")
    assert node.rider_registry.get("rdr_1") is rider
    node.pass_time(LOST_MS)
    assert node.rider_registry.get("rdr_1") is rider
    node.pass_time(1_000)
    assert node.rider_registry.get("rdr_1") is None
    await node.writer.flush()
    assert node.redis.find_rider("rdr_1") == []


async def test_rider_state_is_kept_while_a_socket_is_open():
    """A connected rider without fixes is lost, and keeps its orders."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.report("rdr_1", fix())
    node.pass_time(LOST_MS * 3)
    rider = node.rider_registry.get("rdr_1")
    assert rider is not None
    assert (rider.freshness, rider.orders) == ("lost", ("ord_1",))


@pytest.mark.parametrize("fixes", [[], [fix()]])
async def test_an_off_duty_rider_is_removed_on_disconnect(fixes: list[Fix]):
    """The state of a rider that is not indexed ends with its last socket."""
    node = Node()
    node.rider_registry.connect("rdr_1")
    for each in fixes:
        node.report("rdr_1", each)
    node.rider_registry.disconnect("rdr_1")
    assert len(node.rider_registry) == 0


async def test_changes_of_a_rider_at_another_node_are_ignored():
    """Every method takes the id of a rider that is not here, and changes nothing."""
    node = Node()
    node.rider_registry.disconnect("rdr_1")
    node.rider_registry.assign("rdr_1", "ord_1")
    node.rider_registry.release("rdr_1", "ord_1")
    node.rider_registry.set_available("rdr_1", available=True)
    node.rider_registry.set_attributes("rdr_1", RiderAttributes())
    node.rider_registry.record_offer("rdr_1", 1)
    assert list(node.rider_registry) == []
    assert len(node.writer) == 0


async def test_assign_and_release_are_idempotent():
    """A repeated assignment is one order, a repeated release none."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1", "ord_1")
    [rider] = node.rider_registry
    assert rider.orders == ("ord_1",)
    node.rider_registry.release("rdr_1", "ord_1")
    node.rider_registry.release("rdr_1", "ord_1")
    assert rider.orders == ()


async def test_a_new_connection_may_number_its_fixes_from_one():
    """After a reconnect the first fix is ordered by time, the next ones by number again."""
    node = Node()
    node.put_on_duty("rdr_1")
    now_ms = node.clock.now_ms()
    assert node.report("rdr_1", fix(seq=500, ts=now_ms)) is None
    assert node.report("rdr_1", fix(seq=1, ts=now_ms + 10)) == "stale"
    node.rider_registry.connect("rdr_1")
    assert node.report("rdr_1", fix(seq=1, ts=now_ms + 10)) is None
    assert node.report("rdr_1", fix(seq=2, ts=now_ms - 10)) is None
    node.rider_registry.connect("rdr_1")
    assert node.report("rdr_1", fix(seq=3, ts=now_ms - 20)) == "stale"


async def test_offers_count_for_an_hour():
    """Recent offers are those of the last hour."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    [rider] = node.rider_registry
    for _ in range(3):
        node.rider_registry.record_offer("rdr_1", node.clock.now_ms())
        node.clock.advance(60_000)
    assert rider.facts.recent_offers == 3
    node.clock.advance(3_600_000 - 150_000)
    node.fix_pipeline.sweep(node.clock.now_ms())
    assert rider.facts.recent_offers == 2
    node.clock.advance(3_600_000)
    node.fix_pipeline.sweep(node.clock.now_ms())
    assert rider.facts.recent_offers == 0


async def test_freshness_is_downgraded_step_by_step():
    """A sweep returns a rider once when it becomes stale and once when lost, to the millisecond."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    start_ms = node.clock.now_ms()
    ages = [0, FRESH_MS, FRESH_MS + 1, LOST_MS, LOST_MS + 1, LOST_MS * 9]
    downgraded = [
        [rider.freshness for rider in node.rider_registry.sweep(start_ms + age)] for age in ages
    ]
    assert downgraded == [[], [], ["stale"], [], ["lost"], []]


async def test_a_lost_rider_stays_lost_when_the_clock_steps_back():
    """A sweep with an earlier time does not make a lost rider stale; only a fix makes it live."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    [rider] = node.rider_registry
    start_ms = node.clock.now_ms()
    node.rider_registry.sweep(start_ms + LOST_MS + 1)
    assert node.rider_registry.sweep(start_ms + LOST_MS) == []
    assert rider.freshness == "lost"


async def test_orders_are_set_as_the_table_has_them():
    """Setting the orders releases those that are not named and assigns the others."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1", "ord_2")
    node.rider_registry.set_orders("rdr_1", ["ord_2", "ord_3"])
    [rider] = node.rider_registry
    assert rider.orders == ("ord_2", "ord_3")


async def test_only_indexed_riders_with_a_fix_count_as_on_duty():
    """A rider that is off duty, or has not reported, does not count."""
    node = Node()
    for rider_id in ("reported", "silent", "off"):
        node.put_on_duty(rider_id)
    node.report("reported", fix())
    node.report("off", fix())
    node.rider_registry.set_available("off", available=False)
    assert node.rider_registry.count_on_duty() == 1


async def test_an_observed_rider_with_an_order_reaches_redis_without_a_fix():
    """Answers to pings are written a sweep after 3 s, for riders who carry an order."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.put_on_duty("rdr_2")
    for rider_id in ("rdr_1", "rdr_2", "rdr_unknown"):
        node.rider_registry.observe(rider_id, node.clock.now_ms())
    node.fix_pipeline.sweep(node.clock.now_ms())
    await node.writer.flush()

    assert node.redis.presences == {"rdr_1": Presence(seen_at=node.clock.now_ms())}
    assert node.redis.find_rider("rdr_1") == []


@pytest.mark.parametrize(("later_ms", "is_written"), [(2_999, False), (3_000, True)])
async def test_a_rider_whose_position_is_known_is_seldom_written_again(
    later_ms: int, *, is_written: bool
):
    """An observation within 3 s of the flushed one costs Redis nothing."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.report("rdr_1", fix())
    await node.writer.flush()
    node.clock.advance(later_ms)
    node.rider_registry.observe("rdr_1", node.clock.now_ms())
    node.fix_pipeline.sweep(node.clock.now_ms())

    assert len(node.writer) == is_written
