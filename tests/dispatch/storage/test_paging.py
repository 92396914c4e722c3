"""Cursors of partitioned lists: those that a page returned are read, all others refused."""

import pytest

from dispatch.errors import Refusal, Refused
from dispatch.storage.paging import ShardCursor, next_shard_cursor, parse_shard_cursor

PARTITIONS = 4


def test_no_cursor_is_the_start_of_the_list():
    """The first page starts in the first partition."""
    assert parse_shard_cursor(None, PARTITIONS) == ShardCursor(0, None)


@pytest.mark.parametrize("cursor", [ShardCursor(0, None), ShardCursor(3, "opaque.with.dots")])
def test_cursor_survives_a_round_trip(cursor: ShardCursor):
    """A cursor read from its text is the one that was written."""
    text = next_shard_cursor(cursor.partition, cursor.inner, PARTITIONS)

    assert parse_shard_cursor(text, PARTITIONS) == cursor


def test_after_the_last_partition_there_is_no_cursor():
    """The end of the list has no cursor."""
    assert next_shard_cursor(PARTITIONS, None, PARTITIONS) is None


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "1",
        "x.",
        "².",
        "٣.",
        "1_0.",
        "-1.",
        "4.",
        "9" * 30 + ".",
        "9" * 5000 + ".",
        "0" * 9 + ".",
    ],
)
def test_foreign_cursor_is_refused(cursor: str):
    """Text that is no cursor of the list is refused as malformed.

    `?cursor=².` once failed with a ValueError, since `isdigit` accepts superscripts.
    """
    with pytest.raises(Refused) as refused:
        parse_shard_cursor(cursor, PARTITIONS)

    assert refused.value.code is Refusal.MALFORMED
