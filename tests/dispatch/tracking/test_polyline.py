"""Archived trails are short, close to the fixes, and valid encoded polylines."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatch.model import Position, Trail
from dispatch.tracking.polyline import TOLERANCE_M, build_trail, encode_polyline, simplify
from matching.geo import DEGREE_M, distance_m

HERE = (4.0511, 9.7085)


def fix_at(north_m: float, east_m: float = 0.0, ts: int = 0) -> Position:
    """A fix at this distance from the usual place."""
    east_degree_m = DEGREE_M * math.cos(math.radians(HERE[0]))
    return Position(
        lat=HERE[0] + north_m / DEGREE_M,
        lng=HERE[1] + east_m / east_degree_m,
        ts=ts,
        received_at=ts,
    )


def decode_polyline(text: str) -> list[tuple[float, float]]:
    """The points of an encoded polyline, written from the format's description."""
    numbers, value, shift = [], 0, 0
    for letter in text:
        chunk = ord(letter) - 63
        value |= (chunk & 0x1F) << shift
        shift += 5
        if chunk < 0x20:
            numbers.append(~(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    lat = lng = 0
    points = []
    for north, east in zip(numbers[::2], numbers[1::2], strict=True):
        lat, lng = lat + north, lng + east
        points.append((lat / 1e5, lng / 1e5))
    return points


def test_the_example_of_the_format():
    """The example of the format's description encodes to the string given there."""
    points = [(38.5, -120.2), (40.7, -120.95), (43.252, -126.453)]
    assert encode_polyline(points) == "_p~iF~ps|U_ulLnnqC_mqNvxq`@"
    assert encode_polyline([]) == ""


@given(st.lists(st.tuples(st.floats(-85, 85), st.floats(-180, 180)), max_size=20))
def test_encoding_is_a_round_trip(points: list[tuple[float, float]]):
    """Decoding gives every point back to within half of the fifth decimal."""
    read = decode_polyline(encode_polyline(points))
    assert len(read) == len(points)
    for (lat, lng), (read_lat, read_lng) in zip(points, read, strict=True):
        assert abs(lat - read_lat) <= 0.50001e-5
        assert abs(lng - read_lng) <= 0.50001e-5


def test_a_straight_trail_is_two_points():
    """Points on a line are left out, and so is GPS jitter of 3 m about it."""
    fixes = [fix_at(i * 20, 3.0 * (-1) ** i) for i in range(50)]
    assert simplify(fixes) == [fixes[0], fixes[-1]]


def test_a_corner_is_kept():
    """A corner is kept, and so are both points of a trail of two."""
    fixes = [*(fix_at(i * 20) for i in range(10)), *(fix_at(180, i * 20) for i in range(1, 10))]
    assert simplify(fixes) == [fixes[0], fixes[9], fixes[-1]]
    assert simplify(fixes[:2]) == fixes[:2]


def test_a_return_trip_counts_both_directions():
    """A trail that ends where it began keeps its furthest point, and both directions' length."""
    fixes = [fix_at(north) for north in (0, 50, 100, 150, 100, 50, 0)]
    trail = build_trail("rdr_1", fixes)
    assert (trail.points, trail.distance_m) == (3, 300)


def test_standing_is_not_driving():
    """The drift of a standing phone adds at most 2 m to a distance of 200 m."""
    drift = [fix_at(100 + 4 * math.sin(i), 4 * math.cos(i * 1.7)) for i in range(60)]
    trail = build_trail("rdr_1", [fix_at(0), *drift, fix_at(200)])
    assert trail.distance_m == pytest.approx(200, abs=2)


def test_over_the_date_line():
    """A trail over the date line is straight and short."""
    fixes = [Position(lat=0, lng=lng, ts=0, received_at=0) for lng in (179.999, 180.0, -179.999)]
    assert simplify(fixes) == [fixes[0], fixes[-1]]
    assert build_trail("rdr_1", fixes).distance_m == 222


def test_a_trail_has_its_first_and_last_time():
    """A trail has the times of its first and last fix; one without fixes is empty."""
    fixes = [fix_at(0, ts=5), fix_at(100, ts=9)]
    trail = build_trail("rdr_1", fixes)
    assert (trail.from_ms, trail.to_ms, trail.rider_id) == (5, 9, "rdr_1")
    assert len(decode_polyline(trail.polyline)) == 2
    assert build_trail("rdr_1", []) == Trail(rider_id="rdr_1")


metres = st.floats(-3_000, 3_000)


@settings(max_examples=25)
@given(st.lists(st.tuples(metres, metres), min_size=1, max_size=20))
def test_no_fix_is_far_from_what_is_kept(offsets: list[tuple[float, float]]):
    """Every fix that is left out lies within the tolerance of the simplified line."""
    fixes = [fix_at(north, east, ts) for ts, (north, east) in enumerate(offsets)]
    kept = simplify(fixes)
    assert kept[0] is fixes[0]
    assert kept[-1] is fixes[-1]
    for first, last in pairwise(kept):
        for fix in fixes[first.ts + 1 : last.ts]:
            assert distance_to_line_m(fix, first, last) <= TOLERANCE_M * 1.01 + 2.2


def distance_to_line_m(fix: Position, start: Position, end: Position) -> float:
    """Distance of a fix from the straight line between two others, by trying points of it."""
    shares = (share / 2_000 for share in range(2_001))
    return min(
        distance_m(
            fix,
            Position(
                lat=start.lat + share * (end.lat - start.lat),
                lng=start.lng + share * (end.lng - start.lng),
                ts=0,
                received_at=0,
            ),
        )
        for share in shares
    )
