"""Lines of the riders' index as Redis has them, read when and where somebody wants to."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from dispatch.tracking.stores.rider_facts import IndexedRider, unpack_rider


class IndexScan(NamedTuple):
    """All riders of the index, cell by cell; reading them takes some microseconds each."""

    pages: Sequence[Sequence[bytes]]

    def riders_since(self, since_ms: int) -> list[IndexedRider]:
        """Those who were seen since a moment, each once. Units: Unix ms."""
        lines = (pair for page in self.pages for pair in in_pairs(page))
        return [each for each in keep_newest(unpack_riders(lines)) if each.seen_at_ms >= since_ms]


def in_pairs(flat: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """A flat answer of Redis two by two."""
    return zip(flat[::2], flat[1::2], strict=True)


def unpack_riders(lines: Iterable[tuple[bytes, bytes]]) -> Iterator[IndexedRider]:
    """The riders of lines of the index; those that another version wrote are left out."""
    for rider_id, packed in lines:
        seen = unpack_rider(rider_id.decode(), packed)
        if seen is not None:
            yield seen


def keep_newest(found: Iterable[IndexedRider]) -> list[IndexedRider]:
    """Each rider once; one who reconnected elsewhere may still stand in the cell he left."""
    best: dict[str, IndexedRider] = {}
    for seen in found:
        known = best.get(seen.rider_id)
        if known is None or known.seen_at_ms < seen.seen_at_ms:
            best[seen.rider_id] = seen
    return list(best.values())
