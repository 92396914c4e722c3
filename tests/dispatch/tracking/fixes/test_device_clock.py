"""A phone's clock orders its fixes, and never vetoes that they arrive."""

import pytest

from dispatch.tracking.fixes.device_clock import (
    JUMP_MIN_MS,
    LIVE_GAP_MIN_MS,
    DeviceClock,
    SettledClock,
)

NOW_MS = 1_763_000_000_000
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("ahead_ms", "offset_ms"), [(-HOUR_MS, 0), (0, 0), (1, -1), (HOUR_MS, -HOUR_MS)]
)
def test_only_the_future_changes_the_offset_at_once(ahead_ms: int, offset_ms: int):
    """A fix from the past may have been kept by the phone."""
    clock = DeviceClock()
    clock.follow(NOW_MS + ahead_ms, NOW_MS)
    assert clock.offset_ms == offset_ms


@pytest.mark.parametrize(
    ("gap_ms", "advance_ms", "is_live"),
    [
        # As a live stream: both clocks advance alike, or the phone's stands still or goes back.
        (4_000, 4_000, True),
        (4_000, -HOUR_MS, True),
        (4_000, 1_000, True),
        (LIVE_GAP_MIN_MS, 1_000, True),
        # As a buffer: its fixes arrive closer together than they were made.
        (LIVE_GAP_MIN_MS - 1, 899, False),
        (30, 4_000, False),
        (1_000, 4_000, False),
        (4_000, 60_000, False),
    ],
)
def test_the_second_odd_fix_shows_whether_the_phone_is_live(
    gap_ms: int, advance_ms: int, *, is_live: bool
):
    """The first one never does; a live one sets the clock, and is counted."""
    clock, then_ms = DeviceClock(), NOW_MS + gap_ms
    ts = NOW_MS - HOUR_MS
    assert not clock.is_live(ts, NOW_MS, NOW_MS - 4_000)
    assert clock.is_live(ts + advance_ms, then_ms, NOW_MS - 4_000) is is_live
    assert clock.offset_ms == is_live * (then_ms - ts - advance_ms)
    assert clock.take_steps() == is_live
    assert clock.take_steps() == 0


@pytest.mark.parametrize("advance_ms", [0, 4, 999])
def test_a_clock_that_stands_still_or_counts_seconds_is_no_clock(advance_ms: int):
    """Its times say nothing until the phone connects again."""
    clock = DeviceClock()
    assert not clock.is_live(NOW_MS - HOUR_MS, NOW_MS, NOW_MS - 4_000)
    assert clock.is_live(NOW_MS - HOUR_MS + advance_ms, NOW_MS + 4_000, NOW_MS - 4_000)
    assert clock.is_unusable
    clock.follow(NOW_MS + HOUR_MS, NOW_MS + 8_000)
    assert clock.ms_at(NOW_MS + 8_000) == NOW_MS + 8_000
    clock.trust_again()
    assert (clock.is_unusable, clock.offset_ms, clock.ms_at(NOW_MS)) == (False, 0, NOW_MS)


def test_an_accepted_fix_between_two_odd_ones_shows_that_the_clock_is_right():
    """Single late packets never set the clock."""
    clock = DeviceClock()
    assert not clock.is_live(NOW_MS - HOUR_MS, NOW_MS, NOW_MS - 4_000)
    assert not clock.is_live(NOW_MS - HOUR_MS, NOW_MS + 8_000, NOW_MS + 4_000)
    assert clock.offset_ms == 0


def test_fixes_without_a_time_follow_their_arrival():
    """Sequence numbers that begin again are followed after one of them."""
    clock = DeviceClock()
    assert not clock.is_live(None, NOW_MS, NOW_MS - 4_000)
    assert clock.is_live(None, NOW_MS + 4_000, NOW_MS - 4_000)


@pytest.mark.parametrize(("late_ms", "is_live"), [(0, True), (JUMP_MIN_MS + 1, False)])
def test_a_single_time_from_the_future_is_forgotten(late_ms: int, *, is_live: bool):
    """The next fix fits the clock as it was before, unless it is an old one."""
    clock = DeviceClock()
    clock.follow(NOW_MS + HOUR_MS, NOW_MS)
    assert clock.is_live(NOW_MS + 4_000 - late_ms, NOW_MS + 4_000, NOW_MS) is is_live
    assert (clock.offset_ms == 0) is is_live


def test_old_fixes_never_set_a_clock():
    """However they arrive."""
    clock = SettledClock(-5)
    for second in range(9):
        assert not clock.is_live(NOW_MS - HOUR_MS, NOW_MS + second * 1_000, 0)
    assert clock.offset_ms == -5
