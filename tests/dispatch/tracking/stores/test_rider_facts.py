"""The packed entry of a rider keeps every fact."""

import pytest

from dispatch.model import Position
from dispatch.tracking.stores.rider_facts import (
    LAYOUT_VERSION,
    RiderFacts,
    pack_rider,
    unpack_head,
    unpack_rider,
)

POSITION = Position(
    lat=4.05, lng=9.7, ts=1_763_000_000_000, received_at=1_763_000_000_200, heading=90.0, seq=7
)
FACTS = RiderFacts(
    available=True,
    active=1,
    capacity=2,
    completion=88.5,
    until_ms=1_763_000_900_000,
    recent_offers=3,
    cash_headroom_xaf=40_500,
    vehicle="MOTORBIKE",
    name="Ngo Élise",
)


def test_packing_is_a_round_trip():
    """Position and facts come back as they were packed; what was unknown is None."""
    rider = unpack_rider("rdr_1", pack_rider(POSITION, FACTS), distance_km=1.5)
    assert rider is not None
    assert (rider.rider_id, rider.lat, rider.lng, rider.distance_km) == ("rdr_1", 4.05, 9.7, 1.5)
    assert (rider.ts, rider.seen_at_ms) == (POSITION.ts, POSITION.received_at)
    assert (rider.heading, rider.speed, rider.accuracy) == (90.0, None, None)
    for name in (
        "available", "active", "capacity", "completion", "rating", "until_ms", "recent_offers",
        "cash_headroom_xaf", "vehicle", "name", "is_free",
    ):  # fmt: skip
        assert getattr(rider, name) == getattr(FACTS, name), name


def test_the_head_has_time_and_place():
    """The first bytes are enough to know when and where a rider was seen."""
    packed = pack_rider(POSITION, FACTS)
    assert unpack_head(packed[:25]) == (POSITION.received_at, 4.05, 9.7)


def test_another_layout_version_is_not_read():
    """An entry of another version is None, whole or by its head."""
    packed = bytes([LAYOUT_VERSION + 1]) + pack_rider(POSITION, FACTS)[1:]
    assert unpack_head(packed) is None
    assert unpack_rider("rdr_1", packed) is None


def test_numbers_beyond_their_field_are_capped():
    """Counts and amounts that do not fit are stored as the largest or smallest that does."""
    facts = RiderFacts(
        available=True, active=300, capacity=999, recent_offers=99_999, cash_headroom_xaf=-5
    )
    rider = unpack_rider("rdr_1", pack_rider(POSITION, facts))
    assert rider is not None
    assert (rider.active, rider.capacity, rider.recent_offers) == (255, 255, 65_535)
    assert rider.cash_headroom_xaf == 0


@pytest.mark.parametrize(
    ("available", "active", "status", "is_free"),
    [
        (True, 0, "idle", True),
        (True, 1, "busy", True),
        (True, 2, "busy", False),
        (False, 0, "off", False),
        (False, 1, "busy", False),
    ],
)
def test_duty_status_and_capacity(*, available: bool, active: int, status: str, is_free: bool):
    """A rider with an order is busy; one that is available and below capacity is free."""
    facts = RiderFacts(available=available, active=active, capacity=2)
    rider = unpack_rider("rdr_1", pack_rider(POSITION, facts))
    assert rider is not None
    assert (rider.duty_status, rider.is_free, facts.is_free) == (status, is_free, is_free)
