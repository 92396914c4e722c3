"""Positions and trails: unknown values take no room."""

import msgspec
import pytest

from dispatch.model import Position, Presence, RiderPresence, Trail


def test_unknown_values_are_left_out():
    """A position with only a place and times is stored with four fields."""
    position = Position(lat=4.05, lng=9.7, ts=1, received_at=2)
    assert msgspec.to_builtins(position) == {"lat": 4.05, "lng": 9.7, "ts": 1, "receivedAt": 2}


def test_a_trail_without_positions_is_empty():
    """No position was reported: no points, no distance, no times."""
    trail = Trail(rider_id="rdr_1")
    assert (trail.polyline, trail.points, trail.distance_m) == ("", 0, 0)
    assert (trail.from_ms, trail.to_ms) == (None, None)


@pytest.mark.parametrize(
    ("received_at", "seen_at", "expected"),
    [(None, None, 0), (5, None, 5), (None, 7, 7), (5, 7, 7), (9, 7, 9)],
)
def test_a_rider_was_seen_at_its_last_sign_of_any_kind(
    received_at: int | None, seen_at: int | None, expected: int
):
    """The later of the last position and of anything else that was received."""
    position = (
        None if received_at is None else Position(lat=4, lng=9, ts=1, received_at=received_at)
    )
    last = None if seen_at is None else Presence(seen_at=seen_at)
    assert RiderPresence(position=position, last=last).seen_at == expected
