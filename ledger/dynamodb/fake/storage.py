"""Where the fake's items lie: by partition and sort key, and in indexes that may be behind."""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ledger.dynamodb.fake.errors import NoTable
from ledger.dynamodb.fake.values import Image

Place = tuple[str, str]
# In an index: its sort key, then the item's own keys.
Spot = tuple[str, str, str]
# Above every character that a key may hold.
_LAST = chr(0x10FFFF)


class Stretch(NamedTuple):
    """A part of a partition: whose sort keys begin so, and which way to walk it."""

    partition: str
    prefix: str
    forward: bool


class Due(NamedTuple):
    """A change on its way into the indexes."""

    at_s: float
    number: int
    place: Place
    image: Image | None


class Index:
    """One global index; it holds each item as it was when the index last heard of it."""

    def __init__(self, partition: str, sort: str) -> None:
        self.partition = partition
        self.sort = sort
        self._spots: dict[str, list[Spot]] = {}
        self._where: dict[Place, tuple[str, Spot]] = {}
        self._images: dict[Place, Image] = {}

    def put(self, place: Place, image: Image | None) -> None:
        """Take the item as it is now; None where it is gone."""
        self._drop(place)
        if image is None or self.partition not in image or self.sort not in image:
            return
        partition = image[self.partition]["S"]
        spot = (image[self.sort]["S"], *place)
        self._where[place] = (partition, spot)
        self._images[place] = image
        insort(self._spots.setdefault(partition, []), spot)

    def walk(self, stretch: Stretch, after: Spot | None) -> Iterator[Image]:
        """Items of a stretch in their order, from behind `after` on."""
        spots = self._spots.get(stretch.partition, [])
        bounds = (stretch.prefix,), (stretch.prefix + _LAST,)
        for _, pk, sk in _between(spots, bounds, after, forward=stretch.forward):
            yield self._images[pk, sk]

    def _drop(self, place: Place) -> None:
        found = self._where.pop(place, None)
        if found is None:
            return
        partition, spot = found
        del self._images[place]
        spots = self._spots[partition]
        del spots[bisect_left(spots, spot)]
        if not spots:
            del self._spots[partition]


class Shelves:
    """The items of one table."""

    def __init__(self, definition: Mapping[str, Any], now_s: Callable[[], float]) -> None:
        self.definition = dict(definition)
        self.ttl: dict[str, Any] = {}
        self._now_s = now_s
        self._images: dict[Place, Image] = {}
        self._sorts: dict[str, list[str]] = {}
        self._due: list[Due] = []
        self._number = 0
        # The last change of each item that the indexes know of.
        self._seen: dict[Place, int] = {}
        self.indexes = {
            each["IndexName"]: Index(*(part["AttributeName"] for part in each["KeySchema"]))
            for each in definition.get("GlobalSecondaryIndexes", [])
        }

    def get(self, place: Place) -> Image | None:
        """The item as it stands."""
        return self._images.get(place)

    def put(self, place: Place, image: Image | None, lag_s: float) -> None:
        """Replace an item, or take it away; the indexes hear of it `lag_s` later."""
        self._sort(place, image)
        self._number += 1
        due = Due(self._now_s() + lag_s, self._number, place, image)
        if lag_s:
            heapq.heappush(self._due, due)
        else:
            self._tell(due)

    def walk(self, stretch: Stretch, after: str | None) -> Iterator[Image]:
        """Items of a stretch in their order, from behind `after` on."""
        sorts = self._sorts.get(stretch.partition, [])
        bounds = stretch.prefix, stretch.prefix + _LAST
        for sort in _between(sorts, bounds, after, forward=stretch.forward):
            yield self._images[stretch.partition, sort]

    def index(self, name: str) -> Index | None:
        """An index as it is now; None where there is none of that name."""
        while self._due and self._due[0].at_s <= self._now_s():
            self._tell(heapq.heappop(self._due))
        return self.indexes.get(name)

    def images(self) -> dict[Place, Image]:
        """All items, for tests that look at everything."""
        return dict(sorted(self._images.items()))

    def _sort(self, place: Place, image: Image | None) -> None:
        partition, sort = place
        is_there = place in self._images
        if image is None:
            if is_there:
                del self._images[place]
                sorts = self._sorts[partition]
                del sorts[bisect_left(sorts, sort)]
            return
        self._images[place] = image
        if not is_there:
            insort(self._sorts.setdefault(partition, []), sort)

    def _tell(self, due: Due) -> None:
        # A later change of the same item may have come in sooner.
        if self._seen.get(due.place, 0) > due.number:
            return
        self._seen[due.place] = due.number
        for index in self.indexes.values():
            index.put(due.place, due.image)


def find(tables: Mapping[str, Shelves], name: str) -> Shelves:
    """A table by its name. Errors: NoTable."""
    if name not in tables:
        raise NoTable(name)
    return tables[name]


def _between(
    ordered: list[Any], bounds: tuple[Any, Any], after: Any, *, forward: bool
) -> Iterator[Any]:
    start, stop = bisect_left(ordered, bounds[0]), bisect_left(ordered, bounds[1])
    if after is not None and forward:
        start = max(start, bisect_right(ordered, after))
    elif after is not None:
        stop = min(stop, bisect_left(ordered, after))
    places = range(start, stop) if forward else range(stop - 1, start - 1, -1)
    return (ordered[place] for place in places)
