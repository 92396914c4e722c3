"""A stream of fixes remembers what the next check needs."""

from dispatch.model import Position
from dispatch.tracking.fixes.device_clock import DeviceClock
from dispatch.tracking.fixes.model import AcceptedFix, FixStream


def test_an_accepted_fix_is_the_last_one():
    """The trail's anchor moves only with the rider, and a doubt ends."""
    stream = FixStream(40.0, DeviceClock())
    first, second = (
        AcceptedFix(Position(lat=4.05, lng=9.7, ts=ts, received_at=ts), ts, has_moved=ts == 1)
        for ts in (1, 2)
    )
    stream.doubtful_fix = first
    stream.advance(first)
    stream.advance(second)
    assert (stream.last_fix, stream.doubtful_fix) == (second, None)
    assert stream.trail_anchor is first.position
