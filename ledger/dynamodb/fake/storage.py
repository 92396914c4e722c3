"""Where the fake's items lie: by partition and sort key, and in indexes that may be behind."""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ledger.dynamodb.fake.errors import TableNotFound
from ledger.dynamodb.fake.values import Image

ItemKey = tuple[str, str]
# In an index: its sort key, then the item's own keys.
IndexKey = tuple[str, str, str]
# Above every character that a key may hold.
_KEY_TEXT_MAX = chr(0x10FFFF)


class KeyRange(NamedTuple):
    """A part of a partition: whose sort keys begin so, and which way to walk it."""

    partition: str
    prefix: str
    forward: bool


class IndexUpdate(NamedTuple):
    """A change on its way into the indexes."""

    at_s: float
    change_number: int
    key: ItemKey
    image: Image | None


class Index:
    """One global index; it holds each item as it was when the index last heard of it."""

    def __init__(self, partition_attribute: str, sort_attribute: str) -> None:
        self.partition_attribute = partition_attribute
        self.sort_attribute = sort_attribute
        self._keys_by_partition: dict[str, list[IndexKey]] = {}
        self._index_key_of: dict[ItemKey, tuple[str, IndexKey]] = {}
        self._images: dict[ItemKey, Image] = {}

    def put(self, key: ItemKey, image: Image | None) -> None:
        """Take the item as it is now; None where it is gone."""
        self._remove(key)
        if (
            image is None
            or self.partition_attribute not in image
            or self.sort_attribute not in image
        ):
            return
        partition = image[self.partition_attribute]["S"]
        spot = (image[self.sort_attribute]["S"], *key)
        self._index_key_of[key] = (partition, spot)
        self._images[key] = image
        insort(self._keys_by_partition.setdefault(partition, []), spot)

    def iterate(self, key_range: KeyRange, after: IndexKey | None) -> Iterator[Image]:
        """Items of a stretch in their order, from behind `after` on."""
        spots = self._keys_by_partition.get(key_range.partition, [])
        bounds = (key_range.prefix,), (key_range.prefix + _KEY_TEXT_MAX,)
        for _, pk, sk in _between_bounds(spots, bounds, after, forward=key_range.forward):
            yield self._images[pk, sk]

    def _remove(self, key: ItemKey) -> None:
        found = self._index_key_of.pop(key, None)
        if found is None:
            return
        partition, spot = found
        del self._images[key]
        spots = self._keys_by_partition[partition]
        del spots[bisect_left(spots, spot)]
        if not spots:
            del self._keys_by_partition[partition]


class FakeTable:
    """The items of one table."""

    def __init__(self, definition: Mapping[str, Any], now_s: Callable[[], float]) -> None:
        self.definition = dict(definition)
        self.ttl: dict[str, Any] = {}
        self._now_s = now_s
        self._images: dict[ItemKey, Image] = {}
        self._sort_keys: dict[str, list[str]] = {}
        self._pending_updates: list[IndexUpdate] = []
        self._change_number = 0
        # The last change of each item that the indexes know of.
        self._last_applied: dict[ItemKey, int] = {}
        self.indexes = {
            each["IndexName"]: Index(*(part["AttributeName"] for part in each["KeySchema"]))
            for each in definition.get("GlobalSecondaryIndexes", [])
        }

    def get(self, key: ItemKey) -> Image | None:
        """The item as it stands."""
        return self._images.get(key)

    def put(self, key: ItemKey, image: Image | None, lag_s: float) -> None:
        """Replace an item, or take it away; the indexes hear of it `lag_s` later."""
        self._store(key, image)
        self._change_number += 1
        due = IndexUpdate(self._now_s() + lag_s, self._change_number, key, image)
        if lag_s:
            heapq.heappush(self._pending_updates, due)
        else:
            self._apply_to_indexes(due)

    def iterate(self, key_range: KeyRange, after: str | None) -> Iterator[Image]:
        """Items of a stretch in their order, from behind `after` on."""
        sorts = self._sort_keys.get(key_range.partition, [])
        bounds = key_range.prefix, key_range.prefix + _KEY_TEXT_MAX
        for sort in _between_bounds(sorts, bounds, after, forward=key_range.forward):
            yield self._images[key_range.partition, sort]

    def caught_up_index(self, name: str) -> Index | None:
        """An index as it is now; None where there is none of that name."""
        while self._pending_updates and self._pending_updates[0].at_s <= self._now_s():
            self._apply_to_indexes(heapq.heappop(self._pending_updates))
        return self.indexes.get(name)

    def images(self) -> dict[ItemKey, Image]:
        """All items, for tests that look at everything."""
        return dict(sorted(self._images.items()))

    def _store(self, key: ItemKey, image: Image | None) -> None:
        partition, sort = key
        is_there = key in self._images
        if image is None:
            if is_there:
                del self._images[key]
                sorts = self._sort_keys[partition]
                del sorts[bisect_left(sorts, sort)]
            return
        self._images[key] = image
        if not is_there:
            insort(self._sort_keys.setdefault(partition, []), sort)

    def _apply_to_indexes(self, update: IndexUpdate) -> None:
        # A later change of the same item may have come in sooner.
        if self._last_applied.get(update.key, 0) > update.change_number:
            return
        self._last_applied[update.key] = update.change_number
        for index in self.indexes.values():
            index.put(update.key, update.image)


def find_table(tables: Mapping[str, FakeTable], name: str) -> FakeTable:
    """A table by its name. Errors: NoTable."""
    if name not in tables:
        raise TableNotFound(name)
    return tables[name]


def _between_bounds(
    ordered: list[Any], bounds: tuple[Any, Any], after: Any, *, forward: bool
) -> Iterator[Any]:
    start, stop = bisect_left(ordered, bounds[0]), bisect_left(ordered, bounds[1])
    if after is not None and forward:
        start = max(start, bisect_right(ordered, after))
    elif after is not None:
        stop = min(stop, bisect_left(ordered, after))
    places = range(start, stop) if forward else range(stop - 1, start - 1, -1)
    return (ordered[place] for place in places)
