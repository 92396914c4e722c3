"""Fixes that a phone kept while it was offline: the newest is shown, the trail has the others."""

from collections.abc import Sequence

import pytest

from dispatch.tracking.fixes.model import Drop
from dispatch.wire.commands import Fix
from tests.dispatch.tracking.node import FRESH_MS, Node, RecordingWatcher, fix, north_m

EVERY_MS, STEP_M, KEPT = 4_000, 20.0, 150
MINUTE_MS = 60_000


async def offline_rider(kept: int = KEPT) -> tuple[Node, RecordingWatcher, list[Fix]]:
    """A rider who comes back with so many fixes, the last of this moment; its node and watcher."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    node.report("rdr_1", fix(0, ts=node.clock.now_ms()))
    began_ms = node.clock.now_ms()
    node.pass_time(kept * EVERY_MS)
    fixes = [fix(i * STEP_M, ts=began_ms + i * EVERY_MS) for i in range(1, kept + 1)]
    watcher.packets.clear()
    return node, watcher, fixes


ORDERS = {
    "oldest first": lambda fixes: fixes,
    "newest first": lambda fixes: fixes[::-1],
    "the live one first": lambda fixes: [fixes[-1], *fixes[:-1]],
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("gap_ms", [0, 3, 100])
async def test_single_fixes_from_a_buffer_never_show_an_old_place(order: str, gap_ms: int):
    """However they are sorted and paced: what is live is at most 15 s old, and the end is shown."""
    node, watcher, fixes = await offline_rider()
    for each in ORDERS[order](fixes):
        node.clock.advance(gap_ms)
        assert node.report("rdr_1", each) in (None, Drop.STALE)
    node.fix_pipeline.sweep(node.clock.now_ms())
    await node.writer.flush()

    last = watcher.updates[-1]
    assert north_m(last["location"]["lat"]) == KEPT * STEP_M
    for update in watcher.updates:
        assert update["state"] != "live" or update["receivedAt"] - update["ts"] <= FRESH_MS
    trail = {north_m(each.lat) for each in node.redis.trails["ord_1"]}
    assert trail == {i * STEP_M for i in range(KEPT + 1)}


@pytest.mark.parametrize(("age_ms", "state"), [(20_000, "stale"), (9 * MINUTE_MS, "lost")])
@pytest.mark.parametrize("is_batch", [False, True])
async def test_where_nothing_newer_is_known_an_old_place_is_shown_as_old(
    age_ms: int, state: str, *, is_batch: bool
):
    """With its age, at the next sweep, once; it brings no offers."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    node.report("rdr_1", fix(-20, ts=node.clock.now_ms()))
    node.pass_time(3_600_000)
    watcher.packets.clear()
    made_ms = node.clock.now_ms() - age_ms
    kept = [fix(i * STEP_M, ts=made_ms - (4 - i) * EVERY_MS) for i in range(5)]
    if_single = [] if is_batch else kept
    for each in if_single:
        assert node.report("rdr_1", each) is None
    node.fix_pipeline.process_batch("rdr_1", kept * is_batch, node.clock.now_ms())
    assert watcher.packets == []
    for _ in range(2):
        node.fix_pipeline.sweep(node.clock.now_ms())
    await node.writer.flush()

    assert watcher.path == [("ord_1", 80, state)]
    [update] = watcher.updates
    assert (update["ts"], update["receivedAt"]) == (made_ms, made_ms)
    assert len(node.redis.trails["ord_1"]) == 6


async def test_the_first_fix_of_a_slow_phone_brings_offers_although_it_is_not_live():
    """Its clock is not known yet: it is shown as stale, and found by where it may be."""
    node, watcher = Node(), RecordingWatcher()
    node.put_on_duty("rdr_1", "ord_1")
    await node.watchers.join("ord_1", watcher)
    now_ms = node.clock.now_ms()
    assert node.report("rdr_1", fix(0, ts=now_ms - 9 * MINUTE_MS)) is None
    node.pass_time(1_000)
    await node.writer.flush()
    [update] = node.redis.find_rider("rdr_1")
    assert watcher.path == [("ord_1", 0, "stale")]
    assert now_ms - update.position.received_at <= 1
    node.clock.advance(EVERY_MS)
    node.report("rdr_1", fix(20, ts=node.clock.now_ms() - 9 * MINUTE_MS))
    assert watcher.path[-1] == ("ord_1", 20, "live")


async def test_an_old_place_is_not_shown_after_a_newer_one():
    """A live fix that comes before the sweep wins."""
    node, watcher, fixes = await offline_rider()
    node.report("rdr_1", fixes[0])
    node.report("rdr_1", fixes[-1])
    node.fix_pipeline.sweep(node.clock.now_ms())

    assert [each[1] for each in watcher.path] == [KEPT * STEP_M]


@pytest.mark.parametrize("slow_ms", [0, 20_000, 61_000, 3_600_000])
async def test_a_rider_who_only_sends_batches_is_as_fresh_as_the_newest_fix(slow_ms: int):
    """Also with a slow clock: from the second batch on the rider is live and found for offers."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    states: list[str] = []
    for round_ in range(4):
        node.clock.advance(5 * EVERY_MS)
        now_ms = node.clock.now_ms()
        batch = [
            fix((round_ * 5 + i) * STEP_M, ts=now_ms - slow_ms - (4 - i) * EVERY_MS)
            for i in range(5)
        ]
        batch.append(batch[2])
        assert node.fix_pipeline.process_batch("rdr_1", batch, now_ms).accepted_count == 5
        shown = node.fix_pipeline.last_position("rdr_1")
        states.append(shown.freshness if shown else "unknown")
    await node.writer.flush()

    assert states[1:] == ["live"] * 3
    [update] = node.redis.find_rider("rdr_1")
    assert update.position.received_at == node.clock.now_ms()


async def test_several_old_batches_in_a_row_do_not_set_the_clock():
    """A large buffer comes in pieces that lie farther apart than they arrive."""
    node, watcher, fixes = await offline_rider(200)
    for start in (0, 50, 100):
        node.clock.advance(1_500)
        node.fix_pipeline.process_batch("rdr_1", fixes[start : start + 50], node.clock.now_ms())
    assert watcher.packets == []
    assert node.fix_pipeline.process_batch("rdr_1", fixes[150:], node.clock.now_ms())
    assert [each[1:] for each in watcher.path] == [(200 * STEP_M, "live")]


def test_a_jump_in_a_buffer_is_named():
    """Old fixes are checked against each other: one far away is a teleport, two are not."""
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    began_ms = node.clock.now_ms() - 10 * MINUTE_MS
    norths = [0, 20, 30_000, 40, 60, 50_000, 50_020]
    results: Sequence[object] = [
        node.report("rdr_1", fix(north, ts=began_ms + i * EVERY_MS))
        for i, north in enumerate(norths)
    ]

    assert results == [None, None, Drop.TELEPORT, None, None, Drop.TELEPORT, None]


async def test_a_buffer_that_comes_before_the_orders_are_loaded_is_not_lost():
    """The fixes wait for the rider's state; those without a time are shown by the last one only."""
    node, watcher = Node(), RecordingWatcher()
    await node.watchers.join("ord_1", watcher)
    node.rider_registry.connect("rdr_1")
    node.fix_pipeline.await_load("rdr_1")
    now_ms = node.clock.now_ms()
    for i in range(1, 11):
        assert node.report("rdr_1", fix(i * STEP_M, ts=now_ms - (10 - i) * EVERY_MS)) is None
    node.rider_registry.assign("rdr_1", "ord_1")
    node.fix_pipeline.finish_load("rdr_1")
    await node.writer.flush()

    assert watcher.path[-1] == ("ord_1", 200, "live")
    assert len(node.redis.trails["ord_1"]) == 10


async def test_of_a_buffer_without_times_only_the_newest_is_shown():
    """Nothing says when the others were made; a second later the marker is at the last place."""
    node, watcher, fixes = await offline_rider()
    rider = node.rider_registry.connect("rdr_1")
    node.fix_pipeline.sources.open(rider, "sid_2", node.clock.now_ms())
    now_ms = node.clock.now_ms()
    for each in fixes:
        undated = fix(north_m(each.lat))
        assert node.fix_pipeline.process_fix("rdr_1", undated, now_ms, "sid_2") is None
    node.pass_time(1_000)
    assert [each[1:] for each in watcher.path] == [(KEPT * STEP_M, "live")]
    node.clock.advance(EVERY_MS)
    end = fix((KEPT + 1) * STEP_M)
    node.fix_pipeline.process_fix("rdr_1", end, node.clock.now_ms(), "sid_2")
    assert [each[1] for each in watcher.path][1:] == [(KEPT + 1) * STEP_M]
