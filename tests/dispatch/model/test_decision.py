"""Decision records: a rider is either asked or excluded with a reason."""

import msgspec

from dispatch.ids import OfferId, RiderId
from dispatch.model import ConsideredRider, Decision


def test_one_record_tells_who_was_asked_and_why_the_others_were_not():
    """Asked riders have an offer, excluded ones a reason; both survive storage."""
    asked = ConsideredRider(rider_id=RiderId("a"), distance_km=0.4, offer_id=OfferId("ofr_1"))
    excluded = ConsideredRider(rider_id=RiderId("b"), distance_km=0.9, excluded="off duty")
    decision = Decision(at_ms=1, wave=2, radius_km=1.5, candidates=(asked, excluded))
    stored = msgspec.to_builtins(decision)

    assert [sorted(each) for each in stored["candidates"]] == [
        ["distanceKm", "offerId", "riderId"],
        ["distanceKm", "excluded", "riderId"],
    ]
    assert msgspec.convert(stored, Decision) == decision
