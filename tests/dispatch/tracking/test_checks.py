"""Every fix is accepted, or dropped for one named reason, whatever it contains."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dispatch.model import Position
from dispatch.tracking.checks import STEPS, check_fix, to_doubtful_fix
from dispatch.tracking.fixes.device_clock import DeviceClock
from dispatch.tracking.fixes.model import AcceptedFix, Drop
from dispatch.tracking.fixes.vehicle_speeds import speed_max_mps
from dispatch.tracking.stores.geo_cells import LAT_MAX
from dispatch.wire.commands import Fix
from matching.geo import DEGREE_M, haversine_m

NOW_MS = 1_763_000_000_000
HERE = (4.0511, 9.7085)


@dataclass
class RecordedHistory:
    """A rider's fix history; `report` advances it as the fix pipeline does."""

    last_fix: AcceptedFix | None = None
    doubtful_fix: AcceptedFix | None = None
    trail_anchor: Position | None = None
    speed_max_mps: float = 40.0
    clock: DeviceClock = field(default_factory=DeviceClock)

    def report(self, fix: Fix, now_ms: int) -> Drop | None:
        result = check_fix(self, fix, now_ms)
        match result:
            case Drop.TELEPORT:
                self.doubtful_fix = to_doubtful_fix(self, fix, now_ms)
                return result
            case Drop():
                return result
            case _:
                self.last_fix, self.doubtful_fix = result, None
                self.trail_anchor = result.position if result.has_moved else self.trail_anchor
                return None


def fix(north_m: float = 0.0, **fields: Any) -> Fix:
    """A fix this many metres north of the usual place."""
    given_fields = {"accuracy": 5.0, **fields}
    return Fix(lat=HERE[0] + north_m / DEGREE_M, lng=HERE[1], **given_fields)


def history_at(north_m: float = 0.0, now_ms: int = NOW_MS, **fields: Any) -> RecordedHistory:
    """A history with one fix."""
    history = RecordedHistory()
    assert history.report(fix(north_m, **fields), now_ms) is None
    return history


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("bad", "drop"),
    [
        (Fix(4, 9, ts=NAN), Drop.MALFORMED),
        (Fix(4, 9, ts=INF), Drop.MALFORMED),
        (Fix(4, 9, ts=-1), Drop.MALFORMED),
        (Fix(4, 9, ts=0), Drop.MALFORMED),
        (Fix(4, 9, seq=-1), Drop.MALFORMED),
        (Fix(4, 9, seq=2**53), Drop.MALFORMED),
        (Fix(NAN, 9), Drop.OFF_GLOBE),
        (Fix(4, NAN), Drop.OFF_GLOBE),
        (Fix(INF, 9), Drop.OFF_GLOBE),
        (Fix(4, -INF), Drop.OFF_GLOBE),
        (Fix(86, 9), Drop.OFF_GLOBE),
        (Fix(-90.1, 9), Drop.OFF_GLOBE),
        (Fix(4, 180.1), Drop.OFF_GLOBE),
        (Fix(4, 9, ts=NOW_MS - 24 * 3_600_000 - 1), Drop.STALE),
        (Fix(4, 9, accuracy=5_000.1), Drop.INACCURATE),
        (Fix(4, 9, accuracy=-1), Drop.INACCURATE),
        (Fix(4, 9, accuracy=NAN), Drop.INACCURATE),
    ],
)
def test_a_bad_first_fix_is_dropped(bad: Fix, drop: Drop):
    """A fix that is wrong in itself is dropped for its own reason, without any history."""
    assert check_fix(RecordedHistory(), bad, NOW_MS) is drop


def test_the_first_failing_step_names_the_drop():
    """The steps run in one order, and the first that fails gives the reason."""
    names = [step.__name__ for step in STEPS]
    assert names == [
        "well_formed",
        "on_globe",
        "measured",
        "in_time",
        "newer",
        "moved",
        "accurate",
        "reachable",
    ]
    history = history_at(ts=NOW_MS)
    assert check_fix(history, Fix(99, 9, ts=NAN, accuracy=99), NOW_MS) is Drop.MALFORMED
    assert check_fix(history, Fix(99, 9, ts=NOW_MS - 9, accuracy=99), NOW_MS) is Drop.OFF_GLOBE
    assert check_fix(history, Fix(9, 9, ts=NOW_MS - 9, accuracy=99), NOW_MS) is Drop.SENTINEL
    assert check_fix(history, Fix(9, 8, ts=NOW_MS - 9, accuracy=99), NOW_MS) is Drop.STALE
    assert check_fix(history, Fix(9, 8, ts=NOW_MS + 9, accuracy=99), NOW_MS) is Drop.INACCURATE
    assert check_fix(history, Fix(9, 8, ts=NOW_MS + 9), NOW_MS) is Drop.TELEPORT


def test_a_good_fix_is_kept_as_sent():
    """A good fix is kept as it was sent, with the server's time beside the phone's."""
    sent = Fix(4.05, 9.7, heading=359.0, speed=8.5, accuracy=6.0, ts=NOW_MS - 700.9, seq=3)
    accepted = check_fix(RecordedHistory(), sent, NOW_MS)
    assert isinstance(accepted, AcceptedFix)
    kept = accepted.position
    assert (kept.lat, kept.lng, kept.ts, kept.received_at) == (4.05, 9.7, NOW_MS - 701, NOW_MS)
    assert (kept.heading, kept.speed, kept.accuracy, kept.seq) == (359.0, 8.5, 6.0, 3)


@pytest.mark.parametrize(
    "unknown",
    [{"heading": -1.0}, {"heading": NAN}, {"heading": 361.0}, {"speed": -1.0}, {"speed": INF}, {}],
)
def test_impossible_heading_or_speed_is_unknown(unknown: dict[str, Any]):
    """An impossible heading or speed becomes None; the fix is accepted."""
    accepted = check_fix(RecordedHistory(), Fix(4, 9, **unknown), NOW_MS)
    assert isinstance(accepted, AcceptedFix)
    assert (accepted.position.heading, accepted.position.speed) == (None, None)


def test_a_missing_time_is_now_and_a_missing_accuracy_the_worst():
    """Without a time the fix is of now; without an accuracy it counts as accurate to 50 m."""
    accepted = check_fix(RecordedHistory(), Fix(4, 9), NOW_MS)
    assert isinstance(accepted, AcceptedFix)
    assert (accepted.position.ts, accepted.position.accuracy) == (NOW_MS, None)
    exact, unknown = history_at(accuracy=0.0), history_at(accuracy=None)
    assert exact.report(fix(150, accuracy=0.0), NOW_MS) is Drop.TELEPORT
    assert unknown.report(fix(150, accuracy=None), NOW_MS) is None


@pytest.mark.parametrize("ahead_ms", [1, 9_000, 3_600_000, 1e300])
def test_a_clock_that_is_ahead(ahead_ms: float):
    """A future time becomes now and is marked; fixes 10 s later are accepted again."""
    history = history_at(ts=NOW_MS + ahead_ms)
    assert history.last_fix is not None
    assert history.last_fix.was_clock_ahead
    assert history.last_fix.position.ts == NOW_MS
    assert history.report(fix(ts=NOW_MS + 10_001), NOW_MS + 10_001) is None


def test_two_fixes_of_a_clock_that_is_ahead():
    """With a clock a few seconds ahead the phone's times still order two fixes."""
    history = history_at(ts=NOW_MS + 3_000)
    assert history.report(fix(ts=NOW_MS + 2_000), NOW_MS) is Drop.STALE
    assert history.report(fix(ts=NOW_MS + 3_000), NOW_MS) is Drop.STALE
    assert history.report(fix(ts=NOW_MS + 4_000), NOW_MS) is None


@pytest.mark.parametrize(
    ("before", "after", "drop"),
    [
        # By sequence number first, whatever the clocks say.
        ({"seq": 5, "ts": NOW_MS}, {"seq": 6, "ts": NOW_MS - 5000}, None),
        ({"seq": 5, "ts": NOW_MS}, {"seq": 4, "ts": NOW_MS + 1}, Drop.STALE),
        ({"seq": 5, "ts": NOW_MS}, {"seq": 5, "ts": NOW_MS}, Drop.STALE),
        ({"seq": 5}, {"seq": 4}, Drop.STALE),
        # By time where one of them has no number.
        ({"seq": 5, "ts": NOW_MS}, {"ts": NOW_MS + 1}, None),
        ({"ts": NOW_MS}, {"seq": 1, "ts": NOW_MS - 1}, Drop.STALE),
        ({"ts": NOW_MS}, {"ts": NOW_MS}, Drop.STALE),
        # Without either, by arrival.
        ({}, {}, None),
    ],
)
def test_which_of_two_fixes_is_newer(
    before: dict[str, int], after: dict[str, int], drop: Drop | None
):
    """A repeated or overaccepted fix is named stale: by count, else by time, else by arrival."""
    assert history_at(**before).report(fix(**after), NOW_MS) is drop


@pytest.mark.parametrize(("pause_ms", "drop"), [(14_999, Drop.STALE), (15_000, None)])
def test_a_restarted_app_numbers_its_fixes_from_one(pause_ms: int, drop: Drop | None):
    """A lower sequence number is stale, unless at least 15 s have passed."""
    history = history_at(seq=500, ts=NOW_MS)
    later = NOW_MS + pause_ms
    assert history.report(fix(seq=1, ts=later), later) is drop


@pytest.mark.parametrize(
    ("vehicle", "fast_m", "too_fast_m"),
    # After 10 s: 10 s at full speed, 100 m of slack and twice 5 m of accuracy.
    [
        ("MOTORBIKE", 509, 512),
        ("CAR", 509, 512),
        ("BICYCLE", 359, 362),
        ("FOOT", 309, 312),
        (None, 509, 512),
    ],
)
def test_a_step_beyond_the_vehicles_speed_is_a_teleport(
    vehicle: str | None, fast_m: float, too_fast_m: float
):
    """A distance that the vehicle cannot have covered since the last fix is dropped."""
    history = history_at()
    history.speed_max_mps = speed_max_mps(vehicle)
    later = NOW_MS + 10_000
    assert check_fix(history, fix(too_fast_m), later) is Drop.TELEPORT
    assert isinstance(check_fix(history, fix(fast_m), later), AcceptedFix)


def test_a_second_fix_near_a_jump_is_accepted():
    """One far jump is dropped; a second fix near it is accepted."""
    history = history_at()
    assert history.report(fix(50_000), NOW_MS + 4_000) is Drop.TELEPORT
    assert history.report(fix(50_060), NOW_MS + 8_000) is None


def test_a_single_outlier_changes_nothing():
    """After one outlier the next near fix is accepted, and a later outlier is dropped again."""
    history = history_at()
    assert history.report(fix(50_000), NOW_MS + 4_000) is Drop.TELEPORT
    assert history.report(fix(30), NOW_MS + 8_000) is None
    assert history.report(fix(50_000), NOW_MS + 12_000) is Drop.TELEPORT


def test_a_repeated_packet_does_not_confirm_a_jump():
    """The same fix sent twice is dropped twice."""
    history = history_at(seq=1)
    assert history.report(fix(50_000, seq=2), NOW_MS + 4_000) is Drop.TELEPORT
    assert history.report(fix(50_000, seq=2), NOW_MS + 4_100) is Drop.TELEPORT


def test_a_long_pause_explains_a_long_distance():
    """20 km are possible after ten minutes without a fix, by arrival or by the phone's time."""
    assert history_at().report(fix(20_000), NOW_MS + 600_000) is None
    hour_ago = NOW_MS - 3_600_000
    history = history_at(now_ms=hour_ago, ts=hour_ago)
    assert history.report(fix(20_000, ts=NOW_MS), NOW_MS) is None


def test_over_the_date_line():
    """A small step over the date line is accepted."""
    history = RecordedHistory()
    assert history.report(Fix(1, 179.9999), NOW_MS) is None
    assert history.report(Fix(1, -179.9999), NOW_MS + 1_000) is None


numbers = st.none() | st.floats() | st.sampled_from([NAN, INF, -INF, 1e308, -1e308, 5e-324])
any_fix = st.builds(
    Fix,
    lat=st.floats() | st.floats(-90, 90),
    lng=st.floats() | st.floats(-180, 180),
    heading=numbers,
    speed=numbers,
    accuracy=numbers,
    ts=numbers | st.integers() | st.integers(NOW_MS - 10_000, NOW_MS + 10_000),
    seq=st.none() | st.integers() | st.integers(0, 9),
)


@given(st.lists(st.tuples(any_fix, st.integers(0, 30_000)), max_size=12))
def test_any_numbers_are_accepted_in_range_or_dropped(reports: list[tuple[Fix, int]]):
    """No fix raises, and every number of an accepted or doubtful fix is in range."""
    history, now_ms = RecordedHistory(), NOW_MS
    for sent, pause_ms in reports:
        now_ms += pause_ms
        history.report(sent, now_ms)
        for kept in (each.position for each in (history.last_fix, history.doubtful_fix) if each):
            assert abs(kept.lat) <= LAT_MAX
            assert abs(kept.lng) <= 180
            assert 0 < kept.ts <= kept.received_at <= now_ms
            assert kept.accuracy is None or 0 <= kept.accuracy <= 5_000
            assert kept.heading is None or 0 <= kept.heading <= 360
            assert kept.speed is None or 0 <= kept.speed <= 150


@given(
    st.permutations(range(12)),
    st.lists(st.integers(0, 11), max_size=12),
    st.sampled_from(["seq", "ts", "both"]),
)
def test_a_marker_never_moves_backwards(order: list[int], again: list[int], by: str):
    """Reordered and repeated fixes, by number or by time, only ever move a marker forward."""
    fixes = [
        fix(
            i * 8.0,
            seq=None if by == "ts" else i + 1,
            ts=None if by == "seq" else NOW_MS + i * 1_000,
        )
        for i in range(12)
    ]
    history, now_ms, shown = RecordedHistory(), NOW_MS + 12_000, -1.0
    for i in [*order, *again]:
        now_ms += 100
        history.report(fixes[i], now_ms)
        assert history.last_fix is not None
        where = round((history.last_fix.position.lat - HERE[0]) * DEGREE_M / 8)
        assert where >= shown
        shown = where
    assert shown == 11


@given(
    st.lists(st.tuples(st.floats(0.5, 30), st.floats(0, 39)), min_size=1, max_size=30),
    st.integers(0, 29),
    st.floats(2_000, 200_000),
)
def test_a_possible_route_is_accepted_despite_an_outlier(
    legs: list[tuple[float, float]], at: int, jump_m: float
):
    """Every fix of a route at up to full speed is accepted, with or without one outlier on it."""
    history, now_ms, north_m = history_at(), NOW_MS, 0.0
    for number, (seconds, speed) in enumerate(legs):
        now_ms += int(seconds * 1000)
        north_m += seconds * speed
        outliers = [jump_m] * (number == at)
        assert [history.report(fix(north_m + jump), now_ms) for jump in outliers] == [
            Drop.TELEPORT for _ in outliers
        ]
        assert history.report(fix(north_m), now_ms) is None


@given(st.floats(500, 500_000), st.integers(1, 8))
def test_a_second_fix_after_any_jump_is_accepted(far_m: float, seconds: int):
    """After a jump of any length the second fix from there is accepted."""
    history, now_ms = history_at(), NOW_MS + 1000
    first = history.report(fix(far_m), now_ms)
    second = history.report(fix(far_m + 5), now_ms + seconds * 1000)
    assert first is Drop.TELEPORT
    assert second is None
    assert history.last_fix is not None
    away_m = haversine_m(*HERE, history.last_fix.position.lat, history.last_fix.position.lng)
    assert away_m == pytest.approx(far_m + 5, rel=1e-3)


@pytest.mark.parametrize(("step_m", "is_kept"), [(4.9, False), (5.1, True)])
def test_a_standing_rider_adds_no_trail_point(step_m: float, is_kept: bool):
    """A fix within 5 m of the last trail point is accepted, and marked as not moved."""
    history = history_at(0)
    assert history.report(fix(step_m), NOW_MS + 4_000) is None
    assert history.last_fix is not None
    assert history.last_fix.has_moved is is_kept
    assert history.last_fix.position.received_at == NOW_MS + 4_000
