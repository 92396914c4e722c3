"""The replay of odd phones, on small synthetic drives."""

import asyncio
import random

import pytest

from bench.phones import PHONES, Drive, figures_of, is_good, measure, ride
from dispatch.wire.commands import Fix
from matching.geo import DEGREE_M

BEGIN_MS = 1_763_000_000_000


@pytest.fixture
def drive() -> Drive:
    """Two minutes north, a stop of one, and two on, a fix each five seconds."""
    steps = [*range(24), *[24] * 12, *range(25, 49)]
    fixes = [
        Fix(4.05 + step * 40 / DEGREE_M, 9.7, accuracy=8.0, ts=BEGIN_MS + number * 5_000)
        for number, step in enumerate(steps)
    ]
    is_driving = [step != 24 for step in steps]
    return Drive(fixes, is_driving)


def test_no_phone_costs_its_rider_the_order(drive: Drive):
    """Of every kind: nothing is taken for a jump, and the riders with a position are live."""
    figures = asyncio.run(measure([drive], 1))
    unusable = figures.pop("hopeless")

    assert is_good(figures)
    assert (unusable["used"], unusable["live"], unusable["withdrawn_while_seen"]) == (0, 0, 0)
    assert {kind: each for kind, each in figures.items() if each["live"] < 0.5} == {}


@pytest.mark.parametrize("kind", ["honest", "two_phones", "tunnel", "clock_off_by_years"])
def test_the_trail_has_the_whole_way(drive: Drive, kind: str):
    """Kept fixes are in it, and no other phone's."""
    packets = PHONES[kind](drive, random.Random(1))
    replay = asyncio.run(ride(drive, packets))

    assert figures_of([replay], [drive])["in_trail"] >= 0.95
    assert max(abs(lng - 9.7) for _, lng in replay.sink.trail) < 1e-9


def test_a_lost_order_is_a_missed_goal():
    """So is a true fix that is refused as a jump."""
    good = {"teleports": 0, "withdrawn_while_seen": 0}
    assert is_good({"a": good})
    assert not is_good({"a": good, "b": {**good, "teleports": 1}})
    assert not is_good({"a": {**good, "withdrawn_while_seen": 1}})
