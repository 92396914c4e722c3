"""Positions and trails: unknown values take no room."""

import msgspec

from dispatch.model import Position, Trail


def test_unknown_values_are_left_out():
    """A position with only a place and times is stored with four fields."""
    position = Position(lat=4.05, lng=9.7, ts=1, received_at=2)
    assert msgspec.to_builtins(position) == {"lat": 4.05, "lng": 9.7, "ts": 1, "receivedAt": 2}


def test_a_trail_without_positions_is_empty():
    """No position was reported: no points, no distance, no times."""
    trail = Trail(rider_id="rdr_1")
    assert (trail.polyline, trail.points, trail.distance_m) == ("", 0, 0)
    assert (trail.from_ms, trail.to_ms) == (None, None)
