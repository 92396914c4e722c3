"""Riders with odd phones are seen, shown, and found for offers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch import metrics
from dispatch.tracking.fixes.model import Drop
from dispatch.wire.commands import Fix
from tests.dispatch.tracking.node import DOUALA, FRESH_MS, Node, RecordingWatcher, fix, north_m
from tests.metric_values import metric_value

EVERY_MS, STEP_M = 4_000, 20.0
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


def ride(
    node: Node,
    ts_of: Callable[[int, int], Any],
    fixes: int = 24,
    seq: Callable[[int], int] | None = None,
) -> list[int]:
    """Drive north and report every 4 s, `ts_of(i, now)` being the phone's time.

    The answer is how many fixes the shown position is behind, after each of them.
    """
    behind = []
    for i in range(fixes):
        node.clock.advance(EVERY_MS)
        now_ms = node.clock.now_ms()
        number = seq(i) if seq else None
        node.report("rdr_1", fix(i * STEP_M, ts=ts_of(i, now_ms), seq=number))
        node.fix_pipeline.sweep(now_ms)
        shown = node.fix_pipeline.last_position("rdr_1")
        at = -1 if shown is None else round(north_m(shown.position.lat) / STEP_M)
        behind.append(i - at)
        assert shown is None or shown.position.ts <= now_ms
    return behind


def on_duty() -> Node:
    node = Node()
    node.put_on_duty("rdr_1", "ord_1")
    return node


@pytest.mark.parametrize(
    "ts_of",
    [
        lambda _i, now: now,
        lambda _i, now: now - 14_000,
        lambda _i, now: now - 61_000,
        lambda _i, now: now - 30 * YEAR_MS,
        lambda _i, now: now + 30 * YEAR_MS,
        lambda _i, now: now + HOUR_MS,
        lambda i, now: now - HOUR_MS * (i >= 8),
        lambda i, now: now + HOUR_MS * (i >= 8),
        lambda i, now: now + HOUR_MS * (i < 8),
        lambda i, now: now - 9_000 * (i >= 8) - 9_000 * (i >= 12) - 9_000 * (i >= 16),
        lambda i, now: now + HOUR_MS * (i == 8),
        lambda i, now: now - HOUR_MS * (i == 8),
        # It stands still from the beginning, or later.
        lambda _i, _now: 1_763_000_000_000,
        lambda i, now: now if i < 8 else 1_763_000_000_000 + 8 * EVERY_MS,
        # Too slow, too fast, backwards.
        lambda i, now: now - i * EVERY_MS // 2,
        lambda i, now: now + i * EVERY_MS,
        lambda i, now: now - 2 * i * EVERY_MS,
        # Seconds, microseconds, nanoseconds.
        lambda _i, now: now // 1_000,
        lambda _i, now: now * 1_000,
        lambda _i, now: now * 1_000_000,
        lambda _i, now: now / 1_000,
        lambda _i, _now: None,
    ],
)
@pytest.mark.parametrize("seq", [None, lambda i: i + 1, lambda i: i % 10])
def test_whatever_the_clock_says_the_marker_follows(
    ts_of: Callable[[int, int], Any], seq: Callable[[int], int] | None
):
    """A live stream moves the marker with each fix, or with the next after its clock was set."""
    node = on_duty()
    behind = ride(node, ts_of, seq=seq)

    assert max(behind) <= 1, behind


clock_changes = st.lists(
    st.tuples(st.integers(2, 9), st.integers(-2 * YEAR_MS, 2 * YEAR_MS)), min_size=1, max_size=8
)


@given(clock_changes, st.booleans())
def test_a_clock_that_is_set_again_and_again_costs_one_fix_each_time(
    changes: list[tuple[int, int]], has_seq: bool
):
    """However far a clock is set, and in whichever direction, one fix is not shown at most."""
    offsets = [offset for fixes, offset in changes for _ in range(fixes)]
    node = on_duty()
    numbers = (lambda i: i + 1) if has_seq else None
    behind = ride(node, lambda i, now: now + offsets[i], len(offsets), numbers)

    assert max(behind) <= 1
    assert behind.count(1) <= len(changes) + 1


@pytest.mark.parametrize("fields", [{}, {"speed": 0.0}, {"seq": 7}, {"speed": 0.3, "seq": 7}])
def test_a_standing_phone_may_repeat_its_last_fix(fields: dict[str, Any]):
    """The same fix with the same time, for ten minutes: the rider is live."""
    node, first = on_duty(), None
    for _ in range(150):
        node.clock.advance(EVERY_MS)
        first = first or fix(ts=node.clock.now_ms(), **fields)
        assert node.report("rdr_1", first) is None
        node.fix_pipeline.sweep(node.clock.now_ms())
    shown = node.fix_pipeline.last_position("rdr_1")

    assert shown is not None
    assert (shown.freshness, shown.position.received_at) == ("live", node.clock.now_ms())


def test_a_packet_that_was_sent_twice_is_no_sign_of_standing():
    """It arrives at once, and is dropped."""
    node = on_duty()
    sent = fix(ts=node.clock.now_ms())
    node.report("rdr_1", sent)
    node.clock.advance(100)
    assert node.report("rdr_1", sent) is Drop.STALE


@pytest.mark.parametrize(
    ("accuracy", "is_shown", "is_indexed"),
    [(50.0, True, True), (65.0, True, True), (500.0, True, True), (501.0, True, False),
     (5_000.0, True, False), (5_001.0, False, False), (-1.0, False, False),
     (math.nan, False, False)],
)  # fmt: skip
async def test_a_coarse_position_is_shown_where_nothing_better_is_known(
    accuracy: float, *, is_shown: bool, is_indexed: bool
):
    """With its accuracy, as a circle; up to 500 m the rider can be offered orders."""
    node, watcher = on_duty(), RecordingWatcher()
    await node.watchers.join("ord_1", watcher)
    for i in range(3):
        node.clock.advance(EVERY_MS)
        node.report("rdr_1", fix(i * 3.0, accuracy=accuracy, ts=node.clock.now_ms()))
    await node.writer.flush()

    assert {each["accuracy"] for each in watcher.updates} == ({accuracy} if is_shown else set())
    assert {each["state"] for each in watcher.updates} == ({"live"} if is_shown else set())
    assert len(node.redis.find_rider("rdr_1")) == is_indexed


async def test_coarse_fixes_move_no_exact_marker_for_15_s():
    """Then nothing better is known: the circle is shown, and the trail has no point of it."""
    node, watcher = on_duty(), RecordingWatcher()
    await node.watchers.join("ord_1", watcher)
    node.report("rdr_1", fix(0))
    drops = []
    for _ in range(5):
        node.clock.advance(EVERY_MS)
        drops.append(node.report("rdr_1", fix(400, accuracy=90.0)))
        node.fix_pipeline.sweep(node.clock.now_ms())
    node.clock.advance(EVERY_MS)
    node.report("rdr_1", fix(380))
    await node.writer.flush()

    assert drops == [Drop.INACCURATE] * 3 + [None] * 2
    assert [each[1:] for each in watcher.path if each[2] != "live"] == []
    assert [each[1] for each in watcher.path] == [0, 400, 400, 380]
    assert [north_m(each.lat) for each in node.redis.trails["ord_1"]] == [0, 380]


def test_the_kind_of_a_marker_does_not_flap():
    """Up to 65 m an exact position stays exact; it is lost above, and found at 50 m."""
    node = on_duty()
    results = []
    for accuracy in (40.0, 65.0, 66.0, 60.0):
        node.clock.advance(EVERY_MS)
        results.append(node.report("rdr_1", fix(accuracy=accuracy)))
    node.clock.advance(FRESH_MS + 1)
    for accuracy in (60.0, 51.0, 50.0):
        node.clock.advance(EVERY_MS)
        results.append(node.report("rdr_1", fix(accuracy=accuracy)))
    rider = node.rider_registry.get("rdr_1")

    assert results == [None, None, Drop.INACCURATE, None, None, None, None]
    assert rider is not None
    assert rider.last_fix is not None
    assert not rider.last_fix.is_coarse


def test_a_coarse_marker_rests_inside_its_circle():
    """Coarse fixes that agree do not move it; a better one, and one far away, do."""
    node = on_duty()
    for north, accuracy in ((0, 80.0), (60, 90.0), (30, 70.0), (140, 80.0)):
        node.clock.advance(EVERY_MS)
        node.report("rdr_1", fix(north, accuracy=accuracy))
        shown = node.fix_pipeline.last_position("rdr_1")
        assert shown is not None
        expected = {60: (0, 80.0)}.get(north, (north, accuracy))
        assert (north_m(shown.position.lat), shown.position.accuracy) == expected


NULL_ISLAND = [Fix(0, 0), Fix(0.0004, 0.0004), Fix(-0.0005, 0.0003), Fix(1e-9, -1e-9)]
PLACEHOLDERS = [
    *NULL_ISLAND, Fix(4.05, 4.05), Fix(-1, -1), Fix(4.05, 0), Fix(0, 9.7), Fix(90, 0),
    Fix(180, 180), Fix(-180, -180), Fix(math.nan, 9.7), Fix(4.05, math.inf),
]  # fmt: skip


@pytest.mark.parametrize("placeholder", PLACEHOLDERS)
@pytest.mark.parametrize("times", [1, 2, 30])
async def test_a_place_that_was_not_measured_is_never_shown(placeholder: Fix, times: int):
    """However often it is repeated; the first good fix afterwards is shown, the trail is true."""
    node, watcher = on_duty(), RecordingWatcher()
    await node.watchers.join("ord_1", watcher)
    node.report("rdr_1", fix(0))
    for _ in range(times):
        node.clock.advance(EVERY_MS)
        drop = node.report("rdr_1", placeholder)
        assert drop in (Drop.SENTINEL, Drop.OFF_GLOBE)
    node.clock.advance(EVERY_MS)
    assert node.report("rdr_1", fix(30)) is None
    await node.writer.flush()

    assert [each[1] for each in watcher.path] == [0, 30]
    assert [north_m(each.lat) for each in node.redis.trails["ord_1"]] == [0, 30]


async def test_a_batch_leaves_out_places_that_were_not_measured():
    """They are counted by their reason, and the trail is as long as the way."""
    node = on_duty()
    node.clock.advance(60_000)
    now_ms = node.clock.now_ms()
    good = [fix(i * STEP_M, ts=now_ms - 60_000 + i * EVERY_MS) for i in range(15)]
    bad = [Fix(0, 0, ts=now_ms - 58_000 + i * EVERY_MS) for i in range(15)]
    result = node.fix_pipeline.process_batch("rdr_1", [*good, *bad], now_ms)
    await node.writer.flush()

    assert result.accepted_count == 15
    assert sorted(result.drops) == [(index, Drop.SENTINEL) for index in range(15, 30)]
    assert len(node.redis.trails["ord_1"]) == 15


def test_exchanged_axes_are_named():
    """Where the exchanged place lies in the service area; elsewhere a place is a place."""
    node = on_duty()
    node.report("rdr_1", fix())
    lat, lng = DOUALA
    for _ in range(3):
        node.clock.advance(EVERY_MS)
        assert node.report("rdr_1", Fix(lng, lat)) is Drop.SWAPPED
    node.clock.advance(EVERY_MS)
    assert node.report("rdr_1", fix(10)) is None


@pytest.mark.parametrize(
    ("speed", "every_ms", "results"),
    [
        (8.0, 4_000, [None] * 5),
        (8.0, 15_000, [None, None, None, Drop.FROZEN, Drop.FROZEN]),
        (25.0, 4_000, [None, None, None, Drop.FROZEN, Drop.FROZEN]),
        (0.4, 4_000, [None] * 5),
        (None, 4_000, [None] * 5),
        (9_000.0, 4_000, [None] * 5),
    ],
)
def test_a_frozen_receiver_is_named(speed: float | None, every_ms: int, results: Sequence[object]):
    """The same digits while the phone drives by its own word; standing riders repeat them."""
    node = on_duty()
    found = []
    for _ in range(5):
        found.append(node.report("rdr_1", fix(speed=speed, ts=node.clock.now_ms())))
        node.clock.advance(every_ms)

    assert found == list(results)
    assert node.report("rdr_1", fix(30, speed=speed, ts=node.clock.now_ms())) is None


def test_a_repeated_fix_is_not_frozen():
    """A phone that stands repeats its last fix, with the time and the speed of its arrival."""
    node = on_duty()
    arrived = fix(speed=8.0, ts=node.clock.now_ms())
    found = []
    for _ in range(20):
        found.append(node.report("rdr_1", arrived))
        node.clock.advance(10_000)

    assert found == [None] * 20


def test_clock_steps_are_counted():
    """An hour back, and an hour forward again."""
    node, before = on_duty(), metric_value(metrics.CLOCK_STEPS)
    ride(node, lambda i, now: now - HOUR_MS * (6 <= i < 12), 18)

    assert metric_value(metrics.CLOCK_STEPS) == before + 2
