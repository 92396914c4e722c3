"""The fix pipeline sends accepted fixes to the watchers of the rider's orders, and to no others."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from dispatch.model import Position
from dispatch.tracking.fix_pipeline import BatchResult
from dispatch.tracking.fixes.model import Drop
from dispatch.tracking.stores.geo_cells import cell_of
from tests.dispatch.tracking.node import DOUALA, LOST_MS, Node, RecordingWatcher, fix, north_m


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_a_fix_is_sent_before_process_fix_returns():
    """When `process_fix` returns, the watcher has the complete position with state live."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    now_ms = node.clock.now_ms()
    assert node.report("rdr_1", fix(heading=90.0, ts=now_ms - 40)) is None
    assert watcher.updates == [
        {
            "orderId": "ord_1",
            "riderId": "rdr_1",
            "location": {"lat": DOUALA[0], "lng": DOUALA[1]},
            "heading": 90.0,
            "speed": None,
            "accuracy": 5.0,
            "ts": now_ms - 40,
            "receivedAt": now_ms,
            "state": "live",
        }
    ]


async def test_only_watchers_of_assigned_orders_get_positions():
    """A watcher gets the positions of its order's rider, and none of a rider that released it."""
    node, first, second = Node(), RecordingWatcher(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    node.put_on_duty("rdr_2", "ord_2")
    await node.watchers.join("ord_1", first)
    await node.watchers.join("ord_2", second)
    node.report("rdr_1", fix(0))
    node.report("rdr_2", fix(10))
    node.rider_registry.release("rdr_1", "ord_1")
    node.rider_registry.assign("rdr_2", "ord_1")
    node.report("rdr_1", fix(20))
    node.report("rdr_2", fix(30))
    assert first.path == [("ord_1", 0, "live"), ("ord_1", 30, "live")]
    assert second.path == [("ord_2", 10, "live"), ("ord_2", 30, "live")]


async def test_a_dropped_fix_is_counted_and_not_sent():
    """A dropped fix is returned by its reason, counted under it, and sent to no watcher."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    before = count("reeyo_fixes_dropped_total", reason="inaccurate")
    assert node.report("rdr_1", fix(accuracy=5_400.0)) is Drop.INACCURATE
    assert node.report("nobody", fix()) is Drop.ABSENT
    assert watcher.packets == []
    assert count("reeyo_fixes_dropped_total", reason="inaccurate") == before + 1


async def test_received_and_relayed_fixes_are_counted():
    """Fixes received, relayed and with a clock ahead are exported by the sweep."""
    node, watchers = Node(), [RecordingWatcher(), RecordingWatcher()]
    node.put_on_duty("rdr_1", "ord_1")
    for watcher in watchers:
        await node.watchers.join("ord_1", watcher)
    names = [
        "reeyo_fixes_received_total",
        "reeyo_fixes_relayed_total",
        "reeyo_fixes_clock_ahead_total",
    ]
    before = [count(name) for name in names]
    node.report("rdr_1", fix(ts=node.clock.now_ms() + 500))
    node.report("rdr_1", fix(90_000_000))
    node.fix_pipeline.sweep(node.clock.now_ms())
    assert [count(name) - old for name, old in zip(names, before, strict=True)] == [2, 2, 1]


async def test_a_silent_rider_is_shown_stale_then_lost_once():
    """Stale after 15 s, lost after 45 s, each sent once; the next fix is live again."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    node.report("rdr_1", fix(0))
    node.pass_time(60_000)
    node.report("rdr_1", fix(40))
    node.pass_time(2_000)
    assert watcher.path == [
        ("ord_1", 0, "live"),
        ("ord_1", 0, "stale"),
        ("ord_1", 0, "lost"),
        ("ord_1", 40, "live"),
    ]


async def test_a_lost_rider_leaves_the_index_and_comes_back():
    """45 s without a fix remove a rider from the index; its next fix brings it back."""
    node = Node()
    node.put_on_duty("rdr_1")
    node.report("rdr_1", fix())
    await node.writer.flush()
    assert len(node.redis.find_rider("rdr_1")) == 1
    node.pass_time(LOST_MS)
    await node.writer.flush()
    assert len(node.redis.find_rider("rdr_1")) == 1
    node.pass_time(1_000)
    await node.writer.flush()
    assert node.redis.find_rider("rdr_1") == []
    node.report("rdr_1", fix())
    await node.writer.flush()
    assert len(node.redis.find_rider("rdr_1")) == 1


async def test_an_outlier_does_not_move_the_marker():
    """A far jump is not shown; a second fix near it is."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    drops = [node.report("rdr_1", fix(north)) for north in (0, 90_000, 5, 90_000, 90_010)]
    assert drops == [None, Drop.TELEPORT, None, Drop.TELEPORT, None]
    assert [each[1] for each in watcher.path] == [0, 5, 90_010]


async def test_a_batch_completes_the_trail_and_moves_the_marker_once():
    """Fixes kept offline all go into the trail; the watcher gets only the newest."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    node.report("rdr_1", fix(0))
    now_ms = node.clock.now_ms() + 40_000
    node.clock.advance(40_000)
    kept = [fix(i * 40, ts=now_ms - 40_000 + i * 4_000) for i in range(1, 11)]
    result = node.fix_pipeline.process_batch("rdr_1", [*reversed(kept), kept[3]], now_ms)
    await node.writer.flush()
    assert result == BatchResult(10, ((10, Drop.STALE),))
    assert [each[1] for each in watcher.path] == [0, 400]
    trail = [position.ts for position in node.redis.trails["ord_1"]]
    assert sorted(trail) == [now_ms - 40_000 + i * 4_000 for i in range(11)]


async def test_an_old_batch_leaves_the_marker_alone():
    """Fixes that are older than the shown one, or not live any more, go into the trail only."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    now_ms = node.clock.now_ms()
    old = [fix(i * 10, ts=now_ms - 60_000 + i * 4_000) for i in range(5)]
    assert node.fix_pipeline.process_batch("rdr_1", old, now_ms) == BatchResult(5)
    node.report("rdr_1", fix(100, ts=now_ms))
    node.fix_pipeline.process_batch("rdr_1", [fix(90, ts=now_ms - 2_000)], now_ms)
    await node.writer.flush()
    assert [each[1] for each in watcher.path] == [100]
    assert len(node.redis.trails["ord_1"]) == 7


async def test_a_consistent_batch_after_a_long_distance_is_accepted():
    """Fixes of one batch that agree with each other confirm a long distance."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    node.report("rdr_1", fix(0))
    now_ms = node.clock.now_ms() + 5_000
    kept = [fix(30_000 + i * 20, ts=now_ms - 4_000 + i * 2_000) for i in range(3)]
    node.fix_pipeline.process_batch("rdr_1", kept, now_ms)
    assert [each[1] for each in watcher.path] == [0, 30_040]


async def test_bad_fixes_of_a_batch_are_dropped_one_by_one():
    """Each bad fix is counted under its reason; the good ones are accepted."""
    node = Node()
    node.put_on_duty("rdr_1")
    now_ms = node.clock.now_ms()
    batch = [
        fix(0, ts=now_ms - 3_000),
        fix(0, ts=float("nan")),
        fix(400_000_000),
        fix(0, accuracy=99.0),
        fix(70_000, ts=now_ms - 2_000),
        fix(9, ts=now_ms - 1_000),
    ]
    result = node.fix_pipeline.process_batch("rdr_1", batch, now_ms)
    assert (result.accepted_count, dict(result.drops)) == (
        2,
        {1: Drop.MALFORMED, 2: Drop.OFF_GLOBE, 3: Drop.INACCURATE, 4: Drop.TELEPORT},
    )
    assert node.fix_pipeline.process_batch("rdr_1", [], now_ms) == BatchResult(0)
    absent = node.fix_pipeline.process_batch("nobody", batch, now_ms)
    assert (absent.accepted_count, [drop for _, drop in absent.drops]) == (0, [Drop.ABSENT] * 6)


async def test_a_standing_rider_gets_fresh_markers_but_no_trail():
    """Each fix of a standing rider is sent; its trail grows only after 5 m from the last point."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    before = count("reeyo_fixes_dropped_total", reason="not_moved")
    for north in (0, 2, 4, 3, 6, 8):
        node.clock.advance(1_000)
        assert node.report("rdr_1", fix(north, ts=node.clock.now_ms())) is None
    node.fix_pipeline.sweep(node.clock.now_ms())
    await node.writer.flush()
    shown = [each["ts"] for each in watcher.updates]
    assert shown == sorted(set(shown))
    assert [each[1] for each in watcher.path] == [0, 2, 4, 3, 6, 8]
    assert [north_m(each.lat) for each in node.redis.trails["ord_1"]] == [0, 6]
    assert count("reeyo_fixes_dropped_total", reason="not_moved") == before + 4


async def test_the_first_fix_after_an_assignment_begins_the_trail():
    """The trail of a new order has the rider's next fix, moved or not."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    node.report("rdr_1", fix(0))
    node.rider_registry.assign("rdr_1", "ord_2")
    node.clock.advance(1_000)
    node.report("rdr_1", fix(1))
    await node.writer.flush()
    assert [north_m(each.lat) for each in node.redis.trails["ord_2"]] == [1]


async def test_fixes_from_before_an_assignment_are_not_in_the_trail():
    """Of a batch the trail of an order has the fixes since its assignment."""
    node = Node()
    node.put_on_duty("rdr_1")
    now_ms = node.clock.now_ms()
    node.rider_registry.assign("rdr_1", "ord_1", assigned_at_ms=now_ms - 5_000)
    batch = [fix(i * 10, ts=now_ms - 10_000 + i * 1_000) for i in range(10)]
    node.fix_pipeline.process_batch("rdr_1", batch, now_ms)
    await node.writer.flush()
    assert len(node.redis.trails["ord_1"]) == 5


async def test_a_rider_from_another_node_keeps_its_position():
    """A restored position is in snapshots, and its cell is left when the rider moves."""
    node = Node()
    known = Position(lat=DOUALA[0] + 0.3, lng=DOUALA[1], ts=1, received_at=1, seq=900)
    assert node.fix_pipeline.last_position("rdr_1") is None
    node.put_on_duty("rdr_1")
    assert node.fix_pipeline.last_position("rdr_1") is None
    node.fix_pipeline.restore("rdr_1", known, node.clock.now_ms())
    shown = node.fix_pipeline.last_position("rdr_1")
    assert shown is not None
    assert (shown.position.lat, shown.position.ts) == (known.lat, known.ts)
    assert node.report("rdr_1", fix(seq=1)) is None
    await node.writer.flush()
    [update] = node.redis.find_rider("rdr_1")
    assert update.previous_cell == cell_of(known.lat, known.lng)


@pytest.mark.parametrize("is_known", [True, False])
async def test_restoring_never_replaces_a_fix(*, is_known: bool):
    """A rider that has reported here, or is not here, does not get the position from Redis."""
    node = Node()
    for rider in ["rdr_1"] * is_known:
        node.put_on_duty(rider)
    node.report("rdr_1", fix())
    known = Position(lat=1, lng=1, ts=1, received_at=1)
    node.fix_pipeline.restore("rdr_1", known, node.clock.now_ms())
    shown = node.fix_pipeline.last_position("rdr_1")
    assert (shown is not None) == is_known
    assert shown is None or shown.position.lat == DOUALA[0]


moves = st.lists(
    st.one_of(
        st.tuples(st.just("fix"), st.integers(0, 9)),
        st.tuples(st.just("batch"), st.lists(st.integers(0, 9), max_size=5)),
        st.tuples(st.just("wait"), st.integers(0, 20_000)),
    ),
    max_size=30,
)


@given(moves)
def test_the_marker_only_goes_forward(script: list[tuple[str, object]]):
    """Fixes and batches in any order and number never show an older fix after a newer one."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    asyncio.run(node.watchers.join("ord_1", watcher))
    start_ms = node.clock.now_ms()
    node.clock.advance(10_000)
    for kind, what in script:
        match kind, what:
            case "fix", int(i):
                node.report("rdr_1", fix(i * 9, ts=start_ms + i * 1000))
            case "batch", list(several):
                fixes = [fix(i * 9, ts=start_ms + i * 1000) for i in several]
                node.fix_pipeline.process_batch("rdr_1", fixes, node.clock.now_ms())
            case _, int(pause):
                node.pass_time(pause)
            case _:
                raise AssertionError(kind)
    shown = [each["ts"] for each in watcher.updates]
    assert shown == sorted(shown)
