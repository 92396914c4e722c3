"""Replies of the geo index are decoded to riders, each once."""

from dispatch.model import Position
from dispatch.tracking.stores.index_scan import IndexScan, in_pairs
from dispatch.tracking.stores.rider_facts import RiderFacts, pack_rider

FACTS = RiderFacts(available=True, active=0)


def entry(seen_at_ms: int, lat: float) -> bytes:
    return pack_rider(Position(lat=lat, lng=9.7, ts=1, received_at=seen_at_ms), FACTS)


def test_a_flat_reply_is_read_in_pairs():
    """A flat reply becomes its pairs in order."""
    assert list(in_pairs(["a", 1, "b", 2])) == [("a", 1), ("b", 2)]
    assert list(in_pairs([])) == []


def test_a_scan_has_the_newest_entry_of_each_fresh_rider():
    """Of two entries the newer counts; older riders and other layout versions are left out."""
    scan = IndexScan(
        [
            [b"rdr_1", entry(100, 4.0), b"rdr_2", entry(50, 4.1)],
            [b"rdr_1", entry(200, 4.5), b"rdr_3", b"\x01" + entry(300, 4.2)[1:]],
        ]
    )
    found = scan.riders_since(100)
    assert [(each.rider_id, each.lat, each.seen_at_ms) for each in found] == [("rdr_1", 4.5, 200)]
