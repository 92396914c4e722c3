"""Paging of lists: which page is asked for, and the cursor of a list kept in several partitions."""

from typing import NamedTuple

from dispatch.errors import Refusal, Refused

_WRONG_CURSOR = "this cursor is not from this list"


class PageRequest(NamedTuple):
    """One page of a list: at most `limit` items, from where `cursor` of the page before ended."""

    limit: int
    cursor: str | None = None


class ShardCursor(NamedTuple):
    """Where the next page of a partitioned list begins: a partition, and a cursor inside it."""

    partition: int
    inner: str | None

    def __str__(self) -> str:
        return f"{self.partition}.{self.inner or ''}"


def parse_shard_cursor(cursor: str | None, partition_count: int) -> ShardCursor:
    """Decode the cursor of a list with so many partitions; None is its beginning.

    Errors: Refused MALFORMED for a cursor that is not from this list.
    """
    if cursor is None:
        return ShardCursor(0, None)
    partition, dot, inner = cursor.partition(".")
    # `int` alone would take digits of every alphabet, and so would `isdigit`.
    if not dot or not (partition.isascii() and partition.isdigit()):
        raise wrong_cursor()
    if int(partition) >= partition_count:
        raise wrong_cursor()
    return ShardCursor(int(partition), inner or None)


def next_shard_cursor(partition: int, inner: str | None, partition_count: int) -> str | None:
    """The cursor of the next page, None at the end of the list."""
    return str(ShardCursor(partition, inner)) if partition < partition_count else None


def wrong_cursor() -> Refused:
    """The refusal of a cursor that belongs to another list, or to none."""
    return Refused(Refusal.MALFORMED, _WRONG_CURSOR)
