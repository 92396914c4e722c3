"""Which of two phones shows where the rider is."""

import pytest

from dispatch.model import Position
from dispatch.tracking.fixes.device_clock import DeviceClock
from dispatch.tracking.fixes.model import FixStream
from dispatch.tracking.fixes.sources import FixSource, takes_over, wins_over
from matching.geo import DEGREE_M

NOW_MS = 1_763_000_000_000


def a_source(fix_s: int, tapped_s: int | None = None, moved_s: int | None = None) -> FixSource:
    """A source that sent a fix, was used, and moved so many seconds ago."""
    source = FixSource("sid", NOW_MS - 900_000, FixStream(40.0, DeviceClock()))
    source.fix_at_ms = NOW_MS - fix_s * 1_000
    source.tapped_at_ms = 0 if tapped_s is None else NOW_MS - tapped_s * 1_000
    source.moved_at_ms = 0 if moved_s is None else NOW_MS - moved_s * 1_000
    return source


@pytest.mark.parametrize(
    ("active", "other", "expected"),
    [
        # Two phones side by side: the first stays.
        (a_source(3), a_source(0), False),
        # The active one has stopped.
        (a_source(15), a_source(0), False),
        (a_source(16), a_source(0), True),
        (a_source(16, tapped_s=20, moved_s=20), a_source(0), True),
        # The rider taps on the other one, or moves with it.
        (a_source(3), a_source(0, tapped_s=1), True),
        (a_source(3, tapped_s=5), a_source(0, tapped_s=1), True),
        (a_source(3, tapped_s=1), a_source(0, tapped_s=5), False),
        (a_source(3), a_source(0, moved_s=0), True),
        (a_source(3, tapped_s=60), a_source(0, moved_s=0), True),
        (a_source(3, tapped_s=19), a_source(0, moved_s=0), False),
        # Both move: they are in one pocket; a tap does not part them.
        (a_source(3, moved_s=10), a_source(0, moved_s=0), False),
        (a_source(3, moved_s=10), a_source(0, tapped_s=0), False),
        (a_source(3, moved_s=30), a_source(0, tapped_s=0), True),
    ],
)
def test_the_phone_in_the_riders_hand_is_active(
    active: FixSource, other: FixSource, *, expected: bool
):
    """The one that was used or moved last, with a margin, or the only one that reports."""
    assert takes_over(active, other, NOW_MS) is expected


def test_moving_is_a_hundred_metres():
    """The scatter of a phone that lies on a table is none."""
    source = a_source(0)
    for number, north in enumerate((0, 60, -30, 99, 101)):
        source.follow(Position(lat=4.05 + north / DEGREE_M, lng=9.7, ts=number, received_at=number))
        assert source.moved_at_ms == {101: 4}.get(north, 0)


@pytest.mark.parametrize(("tapped_s", "expected"), [(9, True), (1, False)])
def test_a_source_that_took_another_ones_place_gives_it_back(tapped_s: int, *, expected: bool):
    """Unless the rider has used it since."""
    former, later = a_source(0, tapped_s=9), a_source(0)
    later.replace(former)
    later.tapped_at_ms = NOW_MS - tapped_s * 1_000
    assert later.was_mistaken_for(former) is expected
    assert not former.was_mistaken_for(later)


@pytest.mark.parametrize("tapped_s", [None, 1, 30])
@pytest.mark.parametrize("moved_s", [None, 5, 60])
@pytest.mark.parametrize("fix_s", [1, 20])
def test_two_nodes_agree_on_the_active_source(
    fix_s: int, moved_s: int | None, tapped_s: int | None
):
    """Whatever the signs are, exactly one of two active sources wins."""
    one, other = a_source(2), a_source(fix_s, tapped_s, moved_s)
    one.sid, other.sid = "a", "b"

    assert wins_over(one, other, NOW_MS) is not wins_over(other, one, NOW_MS)


def test_a_phone_that_reconnected_to_another_node_wins():
    """The former source has sent nothing since."""
    former, later = a_source(5, tapped_s=9), a_source(0)
    later.connected_at_ms = NOW_MS - 1_000
    assert wins_over(former, later, NOW_MS)
    assert not wins_over(later, former, NOW_MS)
