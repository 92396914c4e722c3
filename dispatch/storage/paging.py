"""Paging: the page that a caller asks for, and cursors of lists kept in several partitions."""

from typing import NamedTuple

from dispatch.errors import Refusal, Refused

# Python refuses to parse very long numbers; no list has a thousand partitions.
_PARTITION_CHARS_MAX = 3
_WRONG_CURSOR = "this cursor is not from this list"


class PageRequest(NamedTuple):
    """One page of a list: at most `limit` items, after those of the page that gave `cursor`."""

    limit: int
    cursor: str | None = None


class ShardCursor(NamedTuple):
    """Where the next page of a partitioned list starts: a partition, and a cursor inside it."""

    partition: int
    inner: str | None

    def __str__(self) -> str:
        return f"{self.partition}.{self.inner or ''}"


def parse_shard_cursor(cursor: str | None, partition_count: int) -> ShardCursor:
    """Decode the cursor of a list with `partition_count` partitions; None is its start.

    Errors: Refused MALFORMED for a cursor of another list.
    """
    if cursor is None:
        return ShardCursor(0, None)
    partition, dot, inner = cursor.partition(".")
    # `int` and `isdigit` accept digits of every script, and superscripts.
    is_number = partition.isascii() and partition.isdigit()
    if not dot or not is_number or len(partition) > _PARTITION_CHARS_MAX:
        raise wrong_cursor()
    if int(partition) >= partition_count:
        raise wrong_cursor()
    return ShardCursor(int(partition), inner or None)


def next_shard_cursor(partition: int, inner: str | None, partition_count: int) -> str | None:
    """The cursor of the next page as text, None at the end of the list."""
    return str(ShardCursor(partition, inner)) if partition < partition_count else None


def wrong_cursor() -> Refused:
    """The refusal of a cursor that this list did not give."""
    return Refused(Refusal.MALFORMED, _WRONG_CURSOR)
