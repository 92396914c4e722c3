"""The Redis writer writes the newest state of every rider, is bounded, and counts what is lost."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from dispatch.errors import StoreUnavailable
from dispatch.model import Presence
from dispatch.tracking.redis_writer import BATCH_MAX
from tests.dispatch.tracking.node import Node, fix, north_m

REDIS_UNAVAILABLE = StoreUnavailable("redis", "away")


def dropped_count(reason: str) -> float:
    return (
        REGISTRY.get_sample_value("reeyo_position_writer_dropped_total", {"reason": reason}) or 0.0
    )


async def test_the_index_gets_the_newest_fix_and_the_trail_all():
    """Of five fixes between two flushes the index gets the last, the trail all five in order."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    for i in range(5):
        node.clock.advance(1)
        node.report("rdr_1", fix(i * 10))
    await node.writer.flush()
    [[update]] = node.redis.batches
    assert north_m(update.position.lat) == 40
    assert [north_m(each.lat) for each in node.redis.trails["ord_1"]] == [0, 10, 20, 30, 40]


async def test_coalesced_fixes_are_counted():
    """Of five fixes of an idle rider before a flush four are counted as coalesced."""
    node, before = Node(), dropped_count("coalesced")
    node.put_on_duty("rdr_1")
    for i in range(5):
        node.report("rdr_1", fix(i))
    await node.writer.flush()
    assert dropped_count("coalesced") == before + 4


async def test_redis_unavailable_keeps_the_newest_and_the_trail():
    """After an outage Redis gets the current position and the complete trail of each rider."""
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
    [update] = node.redis.find_rider("rdr_1")
    assert north_m(update.position.lat) == 9
    assert [north_m(each.lat) for each in node.redis.trails["ord_1"]] == [0, 9]
    assert len(update.packets) == 1
    assert node.redis.find_rider("rdr_2") == []


async def test_a_rider_who_goes_off_duty_during_a_flush_leaves_the_index():
    """A change during a flush is written by the next one."""
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


async def test_flushes_never_overlap():
    """Three concurrent flushes run one after the other."""
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
    """With room for three riders the three newest are kept and the two oldest are counted."""
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


async def test_lost_trail_fixes_are_counted():
    """Of 300 fixes without a flush the trail keeps 256, and the rest are counted."""
    node, before = Node(), dropped_count("trail")
    node.put_on_duty("rdr_1", "ord_1")
    for i in range(300):
        node.clock.advance(1)
        node.report("rdr_1", fix(i % 2 * 10))
    assert dropped_count("trail") == before + 300 - 256


async def test_a_batch_that_raises_a_bug_is_dropped_and_counted():
    """The error is raised, the batch counted as failed, and the next batch is written."""
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
    """A batch has at most `BATCH_MAX` riders; those that wait longest come first."""
    node = Node(riders_max=10_000)
    for i in range(BATCH_MAX + 7):
        node.put_on_duty(f"rdr_{i}")
        node.report(f"rdr_{i}", fix())
    await node.writer.flush()
    await node.writer.flush()
    assert [len(batch) for batch in node.redis.batches] == [BATCH_MAX, 7]
    assert node.redis.batches[1][0].rider_id == f"rdr_{BATCH_MAX}"


async def test_the_loop_flushes_by_age_and_retries_after_a_failure():
    """A queued rider is written within the flush interval, and again after Redis was away."""
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
    """A full batch is written at once, whatever the flush interval."""
    node = Node(riders_max=10_000, flush_ms=3_600_000)
    loop = asyncio.create_task(node.writer.run())
    for i in range(BATCH_MAX):
        node.put_on_duty(f"rdr_{i}")
        node.report(f"rdr_{i}", fix())
    async with asyncio.timeout(5):
        await node.redis.has_written.wait()
    loop.cancel()
    assert len(node.redis.batches[0]) == BATCH_MAX


async def test_close_writes_everything_that_waits():
    """Closing writes all waiting riders, in as many batches as it takes."""
    node = Node(riders_max=10_000)
    for i in range(BATCH_MAX * 2):
        node.put_on_duty(f"rdr_{i}")
        node.report(f"rdr_{i}", fix())
    await node.writer.close(deadline_s=5)
    assert sum(map(len, node.redis.batches)) == BATCH_MAX * 2


@pytest.mark.parametrize("failure", [REDIS_UNAVAILABLE, None])
async def test_close_ends_at_its_deadline_and_counts_the_rest(failure: StoreUnavailable | None):
    """With Redis unavailable or silent closing ends in time, and the riders left are counted."""
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
    """After any fixes, duty changes and outages the index equals the registry.

    Every fix of an order is in its trail once, in order.
    """
    asyncio.run(run_script(script))


async def run_script(script: list[tuple[str, int]]) -> None:
    node = Node()
    reported: dict[str, list[int]] = {}
    for i in range(5):
        node.put_on_duty(f"rdr_{i}", *[f"ord_{i}"] * (i < 2))
    for step, (kind, what) in enumerate(script):
        node.clock.advance(1_000)
        rider = f"rdr_{what:d}"
        match kind:
            case "fix":
                node.report(rider, fix(step * 10))
                reported.setdefault(f"ord_{what:d}", []).append(step * 10)
            case "duty":
                state = node.rider_registry.get(rider)
                assert state is not None
                node.rider_registry.set_available(rider, available=not state.available)
            case _:
                node.redis.failure = [None, REDIS_UNAVAILABLE][what]
                await asyncio.gather(node.writer.flush(), return_exceptions=True)
    node.redis.failure = None
    await node.writer.flush()
    for state in node.rider_registry:
        expected = [state.position] * (state.is_indexed and state.last_fix is not None)
        assert [update.position for update in node.redis.find_rider(state.rider_id)] == expected
    for order_id in ("ord_0", "ord_1"):
        trail = [north_m(each.lat) for each in node.redis.trails.get(order_id, [])]
        assert trail == reported.get(order_id, [])


async def test_dropped_fixes_are_written_as_presence():
    """A rider whose fixes cannot be used is observed, with what was wrong; a good fix ends that."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    for _ in range(3):
        node.clock.advance(2_000)
        node.report("rdr_1", fix(accuracy=9_000.0))
        node.fix_pipeline.sweep(node.clock.now_ms())
        await node.writer.flush()
    seen_at = node.clock.now_ms()
    assert node.redis.presences["rdr_1"] == Presence(
        seen_at=seen_at, dropped={"inaccurate": 3}, accuracy=9_000.0
    )
    node.report("rdr_1", fix())
    await node.writer.flush()
    rider = node.rider_registry.get("rdr_1")
    assert rider is not None
    assert (rider.dropped, node.redis.presences["rdr_1"].seen_at) == ({}, seen_at)


async def test_a_presence_that_was_not_written_is_written_later():
    """Redis was away: the next flush has it."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.redis.failure = REDIS_UNAVAILABLE
    node.rider_registry.observe("rdr_1", node.clock.now_ms())
    node.fix_pipeline.sweep(node.clock.now_ms())
    with pytest.raises(StoreUnavailable):
        await node.writer.flush()
    assert node.redis.presences == {}
    node.redis.failure = None
    await node.writer.flush()
    assert node.redis.presences == {"rdr_1": Presence(seen_at=node.clock.now_ms())}
