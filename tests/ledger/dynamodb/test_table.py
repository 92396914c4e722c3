"""The port's types."""

import pytest

from ledger.dynamodb.table import (
    CONDITION_FAILED,
    CancelReason,
    Check,
    Delete,
    Key,
    Put,
    TransactionCancelled,
    Update,
    Write,
    key_of,
    time_sort_key,
)

KEY = Key("P", "a")


@pytest.mark.parametrize(
    "write",
    [
        Put(item={"PK": "P", "SK": "a", "n": 1}),
        Update(key=KEY, expression="REMOVE n"),
        Delete(key=KEY),
        Check(key=KEY, condition="attribute_exists(PK)"),
    ],
)
def test_every_write_has_the_key_of_its_item(write: Write):
    """The key is in the item of a Put, and given with the other writes."""
    assert key_of(write) == KEY


def test_sort_keys_sort_by_time():
    """An earlier moment sorts before a later one, whatever the names."""
    assert time_sort_key(999, "z") < time_sort_key(1_000, "a") < time_sort_key(10**12, "a")


def test_failed_positions_are_those_of_failed_conditions():
    """A write that did not fail, and one that met a conflict, are not counted."""
    reasons = [
        CancelReason(None, None),
        CancelReason(CONDITION_FAILED, {"n": 1}),
        CancelReason("TransactionConflict", None),
        CancelReason(CONDITION_FAILED, None),
    ]
    assert TransactionCancelled(reasons).failed_positions() == [1, 3]
