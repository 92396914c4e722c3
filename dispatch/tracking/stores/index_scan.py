"""Index scan: replies of the geo index, decoded when they are needed."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from dispatch.tracking.stores.rider_facts import IndexedRider, unpack_rider


class IndexScan(NamedTuple):
    """All riders of the index, one page for each cell, not decoded yet.

    Shapes: a page is [rider id, packed facts, rider id, ...]. Decoding takes microseconds a rider.
    """

    pages: Sequence[Sequence[bytes]]

    def riders_since(self, since_ms: int) -> list[IndexedRider]:
        """The riders seen since `since_ms`, each once. Units: Unix milliseconds."""
        lines = (pair for page in self.pages for pair in in_pairs(page))
        return [each for each in keep_newest(unpack_riders(lines)) if each.seen_at_ms >= since_ms]


def in_pairs(flat: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """A flat reply of Redis as pairs. Shapes: [a, b, c, d] to (a, b), (c, d)."""
    return zip(flat[::2], flat[1::2], strict=True)


def unpack_riders(lines: Iterable[tuple[bytes, bytes]]) -> Iterator[IndexedRider]:
    """Decode riders; those written in another layout version are left out."""
    for rider_id, packed in lines:
        rider = unpack_rider(rider_id.decode(), packed)
        if rider is not None:
            yield rider


def keep_newest(found: Iterable[IndexedRider]) -> list[IndexedRider]:
    """The newest entry of each rider; after a reconnect an older one may be in another cell."""
    newest: dict[str, IndexedRider] = {}
    for rider in found:
        other = newest.get(rider.rider_id)
        if other is None or other.seen_at_ms < rider.seen_at_ms:
            newest[rider.rider_id] = rider
    return list(newest.values())
