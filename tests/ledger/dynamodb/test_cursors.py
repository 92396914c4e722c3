"""Page cursors: opaque, and valid for one list only."""

import re

import pytest

from ledger.dynamodb.cursors import read_cursor, write_cursor
from ledger.dynamodb.table import Item, Query

LAST: Item = {"PK": "P", "SK": "N#1", "GSI2PK": "G", "GSI2SK": "S#4"}
IN_TABLE = Query(pk="P", prefix="N#")
IN_INDEX = Query(pk="G", prefix="S#", index="GSI2")


def after(query: Query) -> str:
    return write_cursor(query, LAST)


def test_a_cursor_holds_the_key_of_the_last_item():
    """Read with its own query, a cursor gives back the keys of the item it was made from."""
    table = Query(pk="P", prefix="N#", cursor=after(IN_TABLE))
    assert read_cursor(table) == {"PK": "P", "SK": "N#1"}
    index = Query(pk="G", prefix="S#", index="GSI2", cursor=after(IN_INDEX))
    assert read_cursor(index) == LAST


def test_the_first_page_has_no_cursor():
    """A query without a cursor starts at the beginning."""
    assert read_cursor(IN_TABLE) is None


def test_a_cursor_may_be_part_of_a_url():
    """A cursor consists of url-safe characters."""
    assert re.fullmatch(r"[A-Za-z0-9_-]+", after(IN_INDEX))


@pytest.mark.parametrize(
    "query",
    [
        Query(pk="Q", prefix="N#", cursor=after(IN_TABLE)),
        Query(pk="P", prefix="O", cursor=after(IN_TABLE)),
        Query(pk="P", index="GSI2", cursor=after(IN_TABLE)),
        Query(pk="P", cursor=after(IN_INDEX)),
        *(Query(pk="P", cursor=text) for text in ("", "!", "é", "W10", "bnVsbA", "x" * 9001)),
    ],
)
def test_a_cursor_of_another_list_is_refused(query: Query):
    """A cursor of another partition, index or prefix, or a made-up one, raises."""
    with pytest.raises(ValueError, match="cursor"):
        read_cursor(query)
