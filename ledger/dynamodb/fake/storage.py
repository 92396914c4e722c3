"""Storage of the fake: items by partition and sort key, and indexes that may lag."""

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ledger.dynamodb.fake.errors import TableNotFound
from ledger.dynamodb.fake.values import Image

ItemKey = tuple[str, str]
# Key in an index: the index's sort key, then the item's own keys.
IndexKey = tuple[str, str, str]
# Sorts after every character that a key may contain.
_KEY_TEXT_MAX = chr(0x10FFFF)


class KeyRange(NamedTuple):
    """The items of a partition whose sort keys have a prefix, and the direction."""

    partition: str
    prefix: str
    forward: bool


class IndexUpdate(NamedTuple):
    """A change that has not reached the indexes yet."""

    at_s: float
    change_number: int
    key: ItemKey
    image: Image | None


class Index:
    """One global secondary index; holds each item as of its last update."""

    def __init__(self, partition_attribute: str, sort_attribute: str) -> None:
        self.partition_attribute = partition_attribute
        self.sort_attribute = sort_attribute
        self._keys_by_partition: dict[str, list[IndexKey]] = {}
        self._index_key_of: dict[ItemKey, tuple[str, IndexKey]] = {}
        self._images: dict[ItemKey, Image] = {}

    def put(self, key: ItemKey, image: Image | None) -> None:
        """Update the index with an item; None removes it."""
        self._remove(key)
        if (
            image is None
            or self.partition_attribute not in image
            or self.sort_attribute not in image
        ):
            return
        partition = image[self.partition_attribute]["S"]
        index_key = (image[self.sort_attribute]["S"], *key)
        self._index_key_of[key] = (partition, index_key)
        self._images[key] = image
        insort(self._keys_by_partition.setdefault(partition, []), index_key)

    def iterate(self, key_range: KeyRange, after: IndexKey | None) -> Iterator[Image]:
        """Items of a range in their order, starting after `after`."""
        index_keys = self._keys_by_partition.get(key_range.partition, [])
        low, high = (key_range.prefix,), (key_range.prefix + _KEY_TEXT_MAX,)
        for _, pk, sk in _between(index_keys, low, high, after, forward=key_range.forward):
            yield self._images[pk, sk]

    def _remove(self, key: ItemKey) -> None:
        found = self._index_key_of.pop(key, None)
        if found is None:
            return
        partition, index_key = found
        del self._images[key]
        index_keys = self._keys_by_partition[partition]
        del index_keys[bisect_left(index_keys, index_key)]
        if not index_keys:
            del self._keys_by_partition[partition]


class FakeTable:
    """One table: its items and its indexes."""

    def __init__(self, definition: Mapping[str, Any], now_s: Callable[[], float]) -> None:
        self.definition = dict(definition)
        self.ttl: dict[str, Any] = {}
        self._now_s = now_s
        self.items: dict[ItemKey, Image] = {}
        self._sort_keys: dict[str, list[str]] = {}
        self._pending_updates: list[IndexUpdate] = []
        self._change_number = 0
        # Number of the last change of each item that the indexes have.
        self._last_applied: dict[ItemKey, int] = {}
        self.indexes = {
            each["IndexName"]: Index(*(part["AttributeName"] for part in each["KeySchema"]))
            for each in definition.get("GlobalSecondaryIndexes", [])
        }

    def get(self, key: ItemKey) -> Image | None:
        """The current item."""
        return self.items.get(key)

    def put(self, key: ItemKey, image: Image | None, lag_s: float) -> None:
        """Store an item, or remove it if None; the indexes see it `lag_s` seconds later."""
        self._store(key, image)
        self._change_number += 1
        update = IndexUpdate(self._now_s() + lag_s, self._change_number, key, image)
        if lag_s:
            heapq.heappush(self._pending_updates, update)
        else:
            self._apply_to_indexes(update)

    def iterate(self, key_range: KeyRange, after: str | None) -> Iterator[Image]:
        """Items of a range in their order, starting after `after`."""
        sort_keys = self._sort_keys.get(key_range.partition, [])
        low, high = key_range.prefix, key_range.prefix + _KEY_TEXT_MAX
        for sort in _between(sort_keys, low, high, after, forward=key_range.forward):
            yield self.items[key_range.partition, sort]

    def caught_up_index(self, name: str) -> Index | None:
        """An index with all changes that are due; None if there is none of that name."""
        while self._pending_updates and self._pending_updates[0].at_s <= self._now_s():
            self._apply_to_indexes(heapq.heappop(self._pending_updates))
        return self.indexes.get(name)

    def _store(self, key: ItemKey, image: Image | None) -> None:
        partition, sort = key
        is_there = key in self.items
        if image is None:
            if is_there:
                del self.items[key]
                sort_keys = self._sort_keys[partition]
                del sort_keys[bisect_left(sort_keys, sort)]
            return
        self.items[key] = image
        if not is_there:
            insort(self._sort_keys.setdefault(partition, []), sort)

    def _apply_to_indexes(self, update: IndexUpdate) -> None:
        # A later change of the same item may have arrived earlier.
        if self._last_applied.get(update.key, 0) > update.change_number:
            return
        self._last_applied[update.key] = update.change_number
        for index in self.indexes.values():
            index.put(update.key, update.image)


def find_table(tables: Mapping[str, FakeTable], name: str) -> FakeTable:
    """The table of that name. Errors: TableNotFound."""
    if name not in tables:
        raise TableNotFound(name)
    return tables[name]


def _between(
    ordered: list[Any], low: Any, high: Any, after: Any, *, forward: bool
) -> Iterator[Any]:
    """Elements from `low` to before `high`, starting after `after`, in either direction."""
    start, stop = bisect_left(ordered, low), bisect_left(ordered, high)
    if after is not None and forward:
        start = max(start, bisect_right(ordered, after))
    elif after is not None:
        stop = min(stop, bisect_left(ordered, after))
    positions = range(start, stop) if forward else range(stop - 1, start - 1, -1)
    return (ordered[position] for position in positions)
