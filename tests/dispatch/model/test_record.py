"""Stored structs besides orders: each survives storage, and defaults are left out."""

import msgspec
import pytest

from dispatch.ids import OfferId, RiderId
from dispatch.model import (
    ConsideredRider,
    Decision,
    Dispatch,
    DispatchState,
    OfferOutcome,
    PastOffer,
    Place,
    Position,
    PrepTime,
    Record,
    Trail,
)
from tests.factories import a_dispatch, an_offer

PAST = PastOffer(offer_id=OfferId("ofr_1"), outcome=OfferOutcome.DECLINED, at_ms=1)
RECORDS = [
    Place(lat=4.05, lng=9.7),
    Position(lat=4.05, lng=9.7, ts=1, received_at=2, speed=3.5, seq=7),
    Trail(rider_id=RiderId("rdr_1"), polyline="_p~iF", points=2, distance_m=10, from_ms=1, to_ms=2),
    an_offer(),
    PAST,
    a_dispatch(DispatchState.OFFERED, asked={"rdr_2": ("ofr_2", OfferOutcome.UNREAD)}),
    Decision(
        at_ms=1,
        wave=1,
        radius_km=1.5,
        candidates=(
            ConsideredRider(rider_id=RiderId("rdr_1"), distance_km=0.4, score=80.0, before=PAST),
        ),
        prep=PrepTime(minutes=12.5, source="learned", orders=3.2),
    ),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_record_survives_storage(record: Record):
    """A record read back from DynamoDB's types or from JSON equals the one that was written."""
    kind = type(record)
    assert msgspec.convert(msgspec.to_builtins(record), kind) == record
    assert msgspec.json.decode(msgspec.json.encode(record), type=kind) == record


def test_defaults_are_not_stored():
    """A field with its default is left out, and read back as the default."""
    stored = msgspec.to_builtins(Dispatch(state=DispatchState.SEARCHING, started_at_ms=1))
    assert stored == {"state": "SEARCHING", "startedAtMs": 1}
