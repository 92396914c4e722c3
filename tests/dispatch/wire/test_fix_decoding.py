"""Fixes as devices write them: which times and numbers are understood, and which are refused."""

import msgspec
import pytest

from dispatch.wire.commands import Fix
from dispatch.wire.fix_decoding import SECONDS_HINT, TIME_HINT, BadFix, decode_fix, has_seconds

PLACE = {"lat": 4.05, "lng": 9.7}
NOON_MS = 1_769_860_800_000


@pytest.mark.parametrize(
    ("ts", "expected"),
    [
        (None, None),
        (NOON_MS, NOON_MS),
        (float(NOON_MS), NOON_MS),
        (NOON_MS + 0.5, NOON_MS + 0.5),
        ("2026-01-31T12:00:00Z", NOON_MS),
        ("2026-01-31T13:00:00+01:00", NOON_MS),
        ("2026-01-31 12:00:00Z", NOON_MS),
        ("2026-01-31T12:00:00.250Z", NOON_MS + 250),
        # A device whose clock was reset: what it says is checked later.
        (4_000, 4_000),
        (-1, -1),
    ],
)
def test_a_time_is_unix_milliseconds_or_has_a_zone(ts: object, expected: float | None):
    """Both forms give the same fix."""
    assert decode_fix({**PLACE, "ts": ts}) == Fix(lat=4.05, lng=9.7, ts=expected)


@pytest.mark.parametrize(
    ("ts", "hint"),
    [
        ("2026-01-31T12:00:00", TIME_HINT),
        ("2026-01-31", TIME_HINT),
        ("noon", TIME_HINT),
        ("", TIME_HINT),
        (str(NOON_MS), TIME_HINT),
        (NOON_MS // 1000, SECONDS_HINT),
        (NOON_MS / 1000 + 0.5, SECONDS_HINT),
        (1_000_000_000, SECONDS_HINT),
    ],
)
def test_any_other_time_is_refused_with_a_hint(ts: object, hint: str):
    """Seconds are not guessed at, and a time without a zone is no moment."""
    with pytest.raises(BadFix) as refused:
        decode_fix({**PLACE, "ts": ts})
    assert str(refused.value) == hint


@pytest.mark.parametrize(
    "record",
    [
        None,
        7,
        "fix",
        [],
        [4.05, 9.7],
        {},
        {"lat": 4.05},
        {"lat": None, "lng": 9.7},
        {"lat": "4.05", "lng": 9.7},
        {**PLACE, "speed": "3.2"},
        {**PLACE, "accuracy": True},
        {**PLACE, "seq": 1.5},
        {**PLACE, "seq": "7"},
        {"lat": None, "lng": 9.7, "ts": "2026-01-31T12:00:00Z"},
    ],
)
def test_a_record_with_a_field_of_another_type_is_refused(record: object):
    """Texts are no numbers, here as in every other command."""
    with pytest.raises(msgspec.ValidationError):
        decode_fix(record)


def test_whole_numbers_and_unknown_fields_are_tolerated():
    """A device may write 7 as 7.0, and send what the server does not know."""
    fix = decode_fix({**PLACE, "seq": 7.0, "battery": 0.5})
    assert fix == Fix(lat=4.05, lng=9.7, seq=7)
    assert type(fix.seq) is int


@pytest.mark.parametrize(("ts", "expected"), [(None, False), (NOON_MS, False), (1.7e9, True)])
def test_seconds_are_recognised(ts: float | None, *, expected: bool):
    """A fix without a time has none in seconds."""
    assert has_seconds(Fix(lat=4.05, lng=9.7, ts=ts)) is expected
