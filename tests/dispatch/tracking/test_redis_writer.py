"""The newest of every rider reaches Redis; what does not is counted, and nothing grows."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from dispatch.errors import StoreUnavailable
from dispatch.tracking import redis_writer as draining
from dispatch.tracking.redis_writer import BATCH_MAX
from tests.dispatch.tracking.node import Node, fix, north_m

REDIS_UNAVAILABLE = StoreUnavailable("redis", "away")


def dropped_count(reason: str) -> float:
    return (
        REGISTRY.get_sample_value("reeyo_position_writer_dropped_total", {"reason": reason}) or 0.0
    )


async def test_the_newest_wins_and_the_trail_is_whole():
    """Of many fixes between two flushes the index gets the last, the trail all, in order."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    for i in range(5):
        node.clock.advance(1)
        node.report("rdr_1", fix(i * 10))
    await node.writer.flush()
    [[placed]] = node.redis.batches
    assert north_m(placed.position.lat) == 40
    assert [north_m(each.lat) for each in node.redis.trails["ord_1"]] == [0, 10, 20, 30, 40]


async def test_fixes_that_were_overtaken_are_counted():
    """A fix that a newer one replaced before Redis had it is counted as coalesced."""
    node, before = Node(), dropped_count("coalesced")
    node.put_on_duty("rdr_1")
    for i in range(5):
        node.report("rdr_1", fix(i))
    await node.writer.flush()
    assert dropped_count("coalesced") == before + 4


async def test_redis_unavailable_keeps_the_newest_and_the_trail():
    """While Redis is away riders wait; then it gets where they are now, and all their trails."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.put_on_duty("rdr_2")
    node.redis.failure = REDIS_UNAVAILABLE
    node.report("rdr_1", fix(0))
    node.report("rdr_2", fix(0))
    with pytest.raises(StoreUnavailable):
        await node.writer.flush()
    node.clock.advance(4_000)
    node.report("rdr_1", fix(9))
    node.rider_registry.set_available("rdr_2", available=False)
    node.redis.failure = None
    await node.writer.flush()
    [placed] = node.redis.find_rider("rdr_1")
    assert north_m(placed.position.lat) == 9
    assert [north_m(each.lat) for each in node.redis.trails["ord_1"]] == [0, 9]
    assert len(placed.packets) == 1
    assert node.redis.find_rider("rdr_2") == []


async def test_a_rider_who_went_off_duty_during_a_flush_is_taken_out():
    """What changes while a flush is under way is written by the next one."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    node.redis.may_write.clear()
    flush = asyncio.create_task(node.writer.flush())
    await asyncio.sleep(0)
    node.rider_registry.set_available("rdr_1", available=False)
    node.redis.may_write.set()
    await flush
    await node.writer.flush()
    assert node.redis.find_rider("rdr_1") == []


async def test_never_two_flushes_at_once():
    """A flush that is asked for during another waits its turn."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    node.redis.may_write.clear()
    flushes = [asyncio.create_task(node.writer.flush()) for _ in range(3)]
    await asyncio.sleep(0)
    node.report("rdr_1", fix(5))
    node.redis.may_write.set()
    await asyncio.gather(*flushes)
    assert node.redis.writing_max == 1
    assert [north_m(batch[0].position.lat) for batch in node.redis.batches] == [0, 5]


async def test_above_the_bound_the_oldest_is_dropped_and_counted():
    """A node that may keep three riders keeps the three who came last, and says so."""
    node, before = Node(riders_max=3), dropped_count("overflow")
    node.redis.failure = REDIS_UNAVAILABLE
    for i in range(5):
        node.put_on_duty(f"rdr_{i}")
        node.report(f"rdr_{i}", fix())
    with pytest.raises(StoreUnavailable):
        await node.writer.flush()
    assert len(node.writer) == 3
    assert dropped_count("overflow") == before + 2
    node.redis.failure = None
    await node.writer.flush()
    assert [each.rider_id for each in node.redis.batches[0]] == ["rdr_2", "rdr_3", "rdr_4"]


async def test_trails_that_overflow_are_counted():
    """A fix that a trail lost because Redis was away too long is counted."""
    node, before = Node(), dropped_count("trail")
    node.put_on_duty("rdr_1", "ord_1")
    for i in range(200):
        node.clock.advance(1)
        node.report("rdr_1", fix(i % 2 * 10))
    assert dropped_count("trail") == before + 200 - 128


async def test_a_bug_does_not_stop_everyone_behind_it():
    """A batch that Redis refuses as wrong is given up and counted; the next one is written."""
    node, before = Node(), dropped_count("failed")
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    node.redis.failure = TypeError("a bug")
    with pytest.raises(TypeError):
        await node.writer.flush()
    assert dropped_count("failed") == before + 1
    node.redis.failure = None
    node.report("rdr_1", fix(5))
    await node.writer.flush()
    assert len(node.redis.find_rider("rdr_1")) == 1


async def test_many_riders_are_written_in_several_batches():
    """No pipeline carries more than its share; whoever waits longest goes first."""
    node = Node(riders_max=10_000)
    for i in range(BATCH_MAX + 7):
        node.put_on_duty(f"rdr_{i}")
        node.report(f"rdr_{i}", fix())
    await node.writer.flush()
    await node.writer.flush()
    assert [len(batch) for batch in node.redis.batches] == [BATCH_MAX, 7]
    assert node.redis.batches[1][0].rider_id == f"rdr_{BATCH_MAX}"


async def test_the_loop_flushes_by_age_and_goes_on_after_redis_was_away(
    monkeypatch: pytest.MonkeyPatch,
):
    """What was offered is written without being asked for, again after a failure."""
    monkeypatch.setattr(draining, "RETRY_S", 0.001)
    node = Node()
    node.redis.failure = REDIS_UNAVAILABLE
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    loop = asyncio.create_task(node.writer.run())
    async with asyncio.timeout(5):
        await node.redis.has_failed.wait()
        node.redis.failure = None
        await node.redis.has_written.wait()
    loop.cancel()
    assert len(node.redis.find_rider("rdr_1")) == 1


async def test_the_loop_flushes_by_size():
    """A full batch does not wait for its time."""
    node = Node(riders_max=10_000)
    node.writer._flush_s = 3600
    loop = asyncio.create_task(node.writer.run())
    for i in range(BATCH_MAX):
        node.put_on_duty(f"rdr_{i}")
        node.report(f"rdr_{i}", fix())
    async with asyncio.timeout(5):
        await node.redis.has_written.wait()
    loop.cancel()
    assert len(node.redis.batches[0]) == BATCH_MAX


async def test_close_writes_everything_that_waits():
    """At the end all that waits is written, in as many batches as it takes."""
    node = Node(riders_max=10_000)
    for i in range(BATCH_MAX * 2):
        node.put_on_duty(f"rdr_{i}")
        node.report(f"rdr_{i}", fix())
    await node.writer.close(deadline_s=5)
    assert sum(map(len, node.redis.batches)) == BATCH_MAX * 2


@pytest.mark.parametrize("failure", [REDIS_UNAVAILABLE, None])
async def test_closing_ends_in_time_and_counts_the_rest(failure: StoreUnavailable | None):
    """A Redis that is away or silent does not hold up the end; what it missed is counted."""
    node, before = Node(), dropped_count("closed")
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    node.redis.failure = failure
    node.redis.may_write = asyncio.Event()
    await node.writer.close(deadline_s=0.02)
    assert dropped_count("closed") == before + 1
    assert len(node.writer) == 0


events = st.lists(
    st.one_of(
        st.tuples(st.just("fix"), st.integers(0, 4)),
        st.tuples(st.just("flush"), st.booleans()),
        st.tuples(st.just("duty"), st.integers(0, 4)),
    ),
    max_size=60,
)


@given(events)
def test_after_the_last_flush_redis_has_what_the_node_has(script: list[tuple[str, int]]):
    """Through fixes, duty and a Redis that comes and goes: index and roster agree in the end.

    Every fix of an order is in its trail once, in order.
    """
    asyncio.run(run_script(script))


async def run_script(script: list[tuple[str, int]]) -> None:
    node = Node()
    said: dict[str, list[int]] = {}
    for i in range(5):
        node.put_on_duty(f"rdr_{i}", *[f"ord_{i}"] * (i < 2))
    for step, (kind, what) in enumerate(script):
        node.clock.advance(1_000)
        rider = f"rdr_{what:d}"
        match kind:
            case "fix":
                node.report(rider, fix(step * 10))
                said.setdefault(f"ord_{what:d}", []).append(step * 10)
            case "duty":
                seat = node.rider_registry.get(rider)
                assert seat is not None
                node.rider_registry.set_available(rider, available=not seat.available)
            case _:
                node.redis.failure = [None, REDIS_UNAVAILABLE][what]
                await asyncio.gather(node.writer.flush(), return_exceptions=True)
    node.redis.failure = None
    await node.writer.flush()
    for seat in node.rider_registry:
        expected = [seat.position] * (seat.is_indexed and seat.last_fix is not None)
        assert [placed.position for placed in node.redis.find_rider(seat.rider_id)] == expected
    for order_id in ("ord_0", "ord_1"):
        trail = [north_m(each.lat) for each in node.redis.trails.get(order_id, [])]
        assert trail == said.get(order_id, [])
