"""Who is here, on what duty, with which orders; and what the index is told of it."""

import pytest

from dispatch.tracking.rider_state import PENDING_TRAIL_MAX, RiderAttributes
from tests.dispatch.tracking.node import FRESH_MS, LOST_MS, Node, fix


async def test_duty_reaches_the_index_without_a_new_fix():
    """Orders, offers and profile change what the index says although the rider stands still."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    await node.writer.flush()
    node.rider_registry.assign("rdr_1", "ord_1")
    await node.writer.flush()
    [placed] = node.redis.find_rider("rdr_1")
    assert (placed.facts.available, placed.facts.active) == (True, 1)
    node.rider_registry.release("rdr_1", "ord_1")
    node.rider_registry.record_offer("rdr_1", node.clock.now_ms())
    node.rider_registry.set_attributes(
        "rdr_1", RiderAttributes(name="Awa", vehicle="FOOT", rating=4.9, capacity=2)
    )
    await node.writer.flush()
    [placed] = node.redis.find_rider("rdr_1")
    assert (placed.facts.active, placed.facts.capacity, placed.facts.recent_offers) == (0, 2, 1)
    assert (placed.facts.name, placed.facts.vehicle, placed.facts.rating) == ("Awa", "FOOT", 4.9)
    seat = node.rider_registry.get("rdr_1")
    assert seat is not None
    assert seat.speed_max_mps == 20.0


async def test_off_duty_leaves_the_index_at_once():
    """Off duty the next flush takes a rider out, and his later fixes do not bring him back."""
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


async def test_off_duty_with_an_order_stays_in_sight():
    """Who ends his shift with an order in hand is still tracked, and gone after it."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.report("rdr_1", fix())
    node.rider_registry.set_available("rdr_1", available=False)
    await node.writer.flush()
    [placed] = node.redis.find_rider("rdr_1")
    assert not placed.facts.available
    node.rider_registry.release("rdr_1", "ord_1")
    await node.writer.flush()
    assert node.redis.find_rider("rdr_1") == []


async def test_duty_before_the_first_fix_is_nothing_to_write():
    """A rider who never said where he is cannot be indexed, whatever he is ready for."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.rider_registry.set_available("rdr_1", available=False)
    await node.writer.flush()
    assert len(node.writer) == 0
    assert node.redis.batches == []


async def test_rider_state_outlives_a_lost_connection():
    """A socket that ends leaves the seat until the rider is lost; two sockets share one."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    seat = node.rider_registry.connect("rdr_1")
    node.report("rdr_1", fix())
    node.rider_registry.disconnect("rdr_1")
    node.rider_registry.disconnect("rdr_1")
    assert node.rider_registry.get("rdr_1") is seat
    node.pass_time(LOST_MS)
    assert node.rider_registry.get("rdr_1") is seat
    node.pass_time(1_000)
    assert node.rider_registry.get("rdr_1") is None
    await node.writer.flush()
    assert node.redis.find_rider("rdr_1") == []


async def test_rider_state_is_kept_while_a_socket_is_open():
    """A phone without GPS is lost on the map and still connected; its orders stay with it."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.report("rdr_1", fix())
    node.pass_time(LOST_MS * 3)
    seat = node.rider_registry.get("rdr_1")
    assert seat is not None
    assert (seat.freshness, seat.orders) == ("lost", ("ord_1",))


@pytest.mark.parametrize("reported", [True, False])
async def test_an_off_duty_rider_is_removed_on_disconnect(*, reported: bool):
    """A seat that the index does not need ends with its last socket."""
    node = Node()
    node.rider_registry.connect("rdr_1")
    for north in [0.0] * reported:
        node.report("rdr_1", fix(north))
    node.rider_registry.disconnect("rdr_1")
    assert len(node.rider_registry) == 0


async def test_commands_about_a_rider_who_is_elsewhere_change_nothing():
    """What concerns another node's rider is no error here."""
    node = Node()
    node.rider_registry.disconnect("rdr_1")
    node.rider_registry.assign("rdr_1", "ord_1")
    node.rider_registry.release("rdr_1", "ord_1")
    node.rider_registry.set_available("rdr_1", available=True)
    node.rider_registry.set_attributes("rdr_1", RiderAttributes())
    node.rider_registry.record_offer("rdr_1", 1)
    assert list(node.rider_registry) == []
    assert len(node.writer) == 0


async def test_repeating_is_harmless():
    """An assignment said twice is one order, a release said twice none."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1", "ord_1")
    [seat] = node.rider_registry
    assert seat.orders == ("ord_1",)
    node.rider_registry.release("rdr_1", "ord_1")
    node.rider_registry.release("rdr_1", "ord_1")
    assert seat.orders == ()


async def test_a_new_connection_may_count_anew():
    """After a reconnect fixes are ordered by time: a count from one is not an old fix."""
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
    """Fairness looks at the last hour; older offers are forgotten."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    [seat] = node.rider_registry
    for _ in range(3):
        node.rider_registry.record_offer("rdr_1", node.clock.now_ms())
        node.clock.advance(60_000)
    assert seat.facts.recent_offers == 3
    node.clock.advance(3_600_000 - 150_000)
    node.fix_pipeline.sweep(node.clock.now_ms())
    assert seat.facts.recent_offers == 2
    node.clock.advance(3_600_000)
    node.fix_pipeline.sweep(node.clock.now_ms())
    assert seat.facts.recent_offers == 0


async def test_freshness_is_downgraded_step_by_step():
    """A sweep names each seat once per fall, at the very millisecond after its time."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    start_ms = node.clock.now_ms()
    ages = [0, FRESH_MS, FRESH_MS + 1, LOST_MS, LOST_MS + 1, LOST_MS * 9]
    fell = [[seat.freshness for seat in node.rider_registry.sweep(start_ms + age)] for age in ages]
    assert fell == [[], [], ["stale"], [], ["lost"], []]


async def test_a_lost_rider_stays_lost_when_the_clock_steps_back():
    """Only a fix of his brings him back; a second of the clock tells nothing of him."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    [seat] = node.rider_registry
    start_ms = node.clock.now_ms()
    node.rider_registry.sweep(start_ms + LOST_MS + 1)
    assert node.rider_registry.sweep(start_ms + LOST_MS) == []
    assert seat.freshness == "lost"


async def test_a_pending_trail_is_bounded():
    """While Redis is away a rider's trail keeps its newest fixes, no more than its room."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    [seat] = node.rider_registry
    for i in range(PENDING_TRAIL_MAX + 5):
        node.clock.advance(1)
        node.report("rdr_1", fix(i % 2 * 10))
    kept = [position.ts for _, position in seat.pending_trail]
    last_ms = node.clock.now_ms()
    assert kept == list(range(last_ms - PENDING_TRAIL_MAX + 1, last_ms + 1))
