"""A route leg measures the distance to the next stop and detects the arrival there."""

import pytest

from dispatch.ids import OrderId
from dispatch.model import DispatchState, Place, Position, RiderAssignment
from dispatch.tracking.route_leg import RouteLeg
from matching.geo import DEGREE_M, distance_m
from tests.dispatch.tracking.node import DOUALA


def leg(state: str = "ASSIGNED") -> RouteLeg:
    """A leg of an order with its pickup at the usual place and its dropoff 5 km north."""
    return RouteLeg(
        RiderAssignment(
            order_id=OrderId("ord_1"),
            state=DispatchState(state),
            pickup=Place(lat=DOUALA[0], lng=DOUALA[1]),
            dropoff=Place(lat=DOUALA[0] + 5_000 / DEGREE_M, lng=DOUALA[1]),
        )
    )


def position(away_m: float, ts: int, speed: float | None = None) -> Position:
    """A position this far north of the pickup."""
    lat = DOUALA[0] + away_m / DEGREE_M
    return Position(lat=lat, lng=DOUALA[1], ts=ts, received_at=ts, speed=speed)


def arrivals(*fixes: tuple[float, int, float | None]) -> list[bool]:
    """What each fix of (metres away, milliseconds, speed) gives."""
    tested = leg()
    return [tested.detect_arrival(away_m, position(away_m, ts, mps)) for away_m, ts, mps in fixes]


@pytest.mark.parametrize(
    ("state", "to", "has_arrived"),
    [
        ("ASSIGNED", "pickup", False),
        ("AT_PICKUP", "pickup", True),
        ("PICKED_UP", "dropoff", False),
        ("AT_DROPOFF", "dropoff", True),
    ],
)
def test_the_state_gives_the_stop(*, state: str, to: str, has_arrived: bool):
    """Before the pickup the leg leads there, afterwards to the dropoff."""
    tested = leg(state)
    assert (tested.to, tested.has_arrived) == (to, has_arrived)


def test_the_distance_is_exact_to_a_metre_within_a_city():
    """15 km away the plane differs from the globe by less than a metre."""
    far = Position(lat=DOUALA[0] + 0.1, lng=DOUALA[1] + 0.1, ts=0, received_at=0)
    stop = Place(lat=DOUALA[0], lng=DOUALA[1])
    assert leg().distance_m(far) == pytest.approx(distance_m(far, stop), abs=1)


def test_two_slow_fixes_within_40_m_are_an_arrival_once():
    """The second fix completes it; later ones do not repeat it."""
    assert arrivals((39, 0, 0.5), (30, 1_000, 0.5), (20, 2_000, 0.5)) == [False, True, False]


def test_staying_five_seconds_within_60_m_is_an_arrival():
    """One fix within 40 m and one within 60 m five seconds later are enough."""
    assert arrivals((39, 0, 1.0), (55, 4_999, 1.0)) == [False, False]
    assert arrivals((39, 0, 1.0), (55, 5_000, 1.0)) == [False, True]


def test_a_fix_beyond_60_m_begins_again():
    """After leaving the circle two further fixes are needed."""
    assert arrivals((39, 0, 1.0), (61, 1_000, 1.0), (39, 2_000, 1.0)) == [False, False, False]


def test_a_fast_rider_has_not_arrived():
    """Above 3 m/s no fix counts, reported or computed from the change of distance."""
    assert arrivals((39, 0, 3.1), (30, 1_000, 3.1)) == [False, False]
    assert arrivals((80, 0, None), (39, 1_000, None), (10, 2_000, None)) == [False] * 3
