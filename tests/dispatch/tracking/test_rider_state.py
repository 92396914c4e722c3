"""Who is here, on what duty, with which orders; and what the index is told of it."""

import pytest

from dispatch.tracking.rider_state import TRAIL_WAITING_MAX, About
from tests.dispatch.tracking.node import FRESH_MS, LOST_MS, Node, fix


async def test_duty_reaches_the_index_without_a_new_fix():
    """Orders, offers and profile change what the index says although the rider stands still."""
    node = Node()
    node.on_duty("rdr_1")
    node.report("rdr_1", fix())
    await node.drain.flush()
    node.roster.assign("rdr_1", "ord_1")
    await node.drain.flush()
    [placed] = node.redis.find("rdr_1")
    assert (placed.facts.available, placed.facts.active) == (True, 1)
    node.roster.release("rdr_1", "ord_1")
    node.roster.offered("rdr_1", node.clock.now_ms())
    node.roster.describe("rdr_1", About(name="Awa", vehicle="FOOT", rating=4.9, capacity=2))
    await node.drain.flush()
    [placed] = node.redis.find("rdr_1")
    assert (placed.facts.active, placed.facts.capacity, placed.facts.recent_offers) == (0, 2, 1)
    assert (placed.facts.name, placed.facts.vehicle, placed.facts.rating) == ("Awa", "FOOT", 4.9)
    seat = node.roster.get("rdr_1")
    assert seat is not None
    assert seat.speed_max_mps == 20.0


async def test_off_duty_leaves_the_index_at_once():
    """Off duty the next flush takes a rider out, and his later fixes do not bring him back."""
    node = Node()
    node.on_duty("rdr_1")
    node.report("rdr_1", fix())
    await node.drain.flush()
    node.roster.set_available("rdr_1", available=False)
    await node.drain.flush()
    assert node.redis.find("rdr_1") == []
    node.report("rdr_1", fix(10))
    await node.drain.flush()
    assert node.redis.find("rdr_1") == []
    node.roster.set_available("rdr_1", available=True)
    await node.drain.flush()
    assert len(node.redis.find("rdr_1")) == 1


async def test_off_duty_with_an_order_stays_in_sight():
    """Who ends his shift with an order in hand is still tracked, and gone after it."""
    node = Node()
    node.on_duty("rdr_1", "ord_1")
    node.report("rdr_1", fix())
    node.roster.set_available("rdr_1", available=False)
    await node.drain.flush()
    [placed] = node.redis.find("rdr_1")
    assert not placed.facts.available
    node.roster.release("rdr_1", "ord_1")
    await node.drain.flush()
    assert node.redis.find("rdr_1") == []


async def test_duty_before_the_first_fix_is_nothing_to_write():
    """A rider who never said where he is cannot be indexed, whatever he is ready for."""
    node = Node()
    node.on_duty("rdr_1", "ord_1")
    node.roster.set_available("rdr_1", available=False)
    await node.drain.flush()
    assert len(node.drain) == 0
    assert node.redis.batches == []


async def test_a_rider_keeps_his_seat_over_a_lost_connection():
    """A socket that ends leaves the seat until the rider is lost; two sockets share one."""
    node = Node()
    node.on_duty("rdr_1", "ord_1")
    seat = node.roster.seat("rdr_1")
    node.report("rdr_1", fix())
    node.roster.leave("rdr_1")
    node.roster.leave("rdr_1")
    assert node.roster.get("rdr_1") is seat
    node.pass_time(LOST_MS)
    assert node.roster.get("rdr_1") is seat
    node.pass_time(1_000)
    assert node.roster.get("rdr_1") is None
    await node.drain.flush()
    assert node.redis.find("rdr_1") == []


async def test_a_rider_who_still_has_a_socket_keeps_his_seat():
    """A phone without GPS is lost on the map and still connected; its orders stay with it."""
    node = Node()
    node.on_duty("rdr_1", "ord_1")
    node.report("rdr_1", fix())
    node.pass_time(LOST_MS * 3)
    seat = node.roster.get("rdr_1")
    assert seat is not None
    assert (seat.state, seat.orders) == ("lost", ("ord_1",))


@pytest.mark.parametrize("reported", [True, False])
async def test_who_is_off_duty_and_gone_is_forgotten(*, reported: bool):
    """A seat that the index does not need ends with its last socket."""
    node = Node()
    node.roster.seat("rdr_1")
    for north in [0.0] * reported:
        node.report("rdr_1", fix(north))
    node.roster.leave("rdr_1")
    assert len(node.roster) == 0


async def test_commands_about_a_rider_who_is_elsewhere_change_nothing():
    """What concerns another node's rider is no error here."""
    node = Node()
    node.roster.leave("rdr_1")
    node.roster.assign("rdr_1", "ord_1")
    node.roster.release("rdr_1", "ord_1")
    node.roster.set_available("rdr_1", available=True)
    node.roster.describe("rdr_1", About())
    node.roster.offered("rdr_1", 1)
    assert list(node.roster) == []
    assert len(node.drain) == 0


async def test_repeating_is_harmless():
    """An assignment said twice is one order, a release said twice none."""
    node = Node()
    node.on_duty("rdr_1", "ord_1", "ord_1")
    [seat] = node.roster
    assert seat.orders == ("ord_1",)
    node.roster.release("rdr_1", "ord_1")
    node.roster.release("rdr_1", "ord_1")
    assert seat.orders == ()


async def test_a_new_connection_may_count_anew():
    """After a reconnect fixes are ordered by time: a count from one is not an old fix."""
    node = Node()
    node.on_duty("rdr_1")
    now_ms = node.clock.now_ms()
    assert node.report("rdr_1", fix(seq=500, ts=now_ms)) is None
    assert node.report("rdr_1", fix(seq=1, ts=now_ms + 10)) == "stale"
    node.roster.seat("rdr_1")
    assert node.report("rdr_1", fix(seq=1, ts=now_ms + 10)) is None
    assert node.report("rdr_1", fix(seq=2, ts=now_ms - 10)) is None
    node.roster.seat("rdr_1")
    assert node.report("rdr_1", fix(seq=3, ts=now_ms - 20)) == "stale"


async def test_offers_count_for_an_hour():
    """Fairness looks at the last hour; older offers are forgotten."""
    node = Node()
    node.on_duty("rdr_1")
    node.report("rdr_1", fix())
    [seat] = node.roster
    for _ in range(3):
        node.roster.offered("rdr_1", node.clock.now_ms())
        node.clock.advance(60_000)
    assert seat.facts.recent_offers == 3
    node.clock.advance(3_600_000 - 150_000)
    node.lane.sweep(node.clock.now_ms())
    assert seat.facts.recent_offers == 2
    node.clock.advance(3_600_000)
    node.lane.sweep(node.clock.now_ms())
    assert seat.facts.recent_offers == 0


async def test_states_fall_one_by_one():
    """A sweep names each seat once per fall, at the very millisecond after its time."""
    node = Node()
    node.on_duty("rdr_1")
    node.report("rdr_1", fix())
    start_ms = node.clock.now_ms()
    ages = [0, FRESH_MS, FRESH_MS + 1, LOST_MS, LOST_MS + 1, LOST_MS * 9]
    fell = [[seat.state for seat in node.roster.sweep(start_ms + age)] for age in ages]
    assert fell == [[], [], ["stale"], [], ["lost"], []]


async def test_a_lost_rider_stays_lost_where_the_clock_is_put_back():
    """Only a fix of his brings him back; a second of the clock tells nothing of him."""
    node = Node()
    node.on_duty("rdr_1")
    node.report("rdr_1", fix())
    [seat] = node.roster
    start_ms = node.clock.now_ms()
    node.roster.sweep(start_ms + LOST_MS + 1)
    assert node.roster.sweep(start_ms + LOST_MS) == []
    assert seat.state == "lost"


async def test_a_trail_that_nobody_fetches_stays_small():
    """While Redis is away a rider's trail keeps its newest fixes, no more than its room."""
    node = Node()
    node.on_duty("rdr_1", "ord_1")
    [seat] = node.roster
    for i in range(TRAIL_WAITING_MAX + 5):
        node.clock.advance(1)
        node.report("rdr_1", fix(i % 2 * 10))
    kept = [position.ts for _, position in seat.trail]
    last_ms = node.clock.now_ms()
    assert kept == list(range(last_ms - TRAIL_WAITING_MAX + 1, last_ms + 1))
