"""Single writes of a transaction."""

from typing import Any

import pytest

from ledger.dynamodb.fake.errors import InvalidRequest, TableNotFound
from ledger.dynamodb.fake.storage import FakeTable
from ledger.dynamodb.fake.writes import apply_write, condition_holds, parse_write
from ledger.dynamodb.schema import TABLE_DEFINITION

KEY = {"PK": {"S": "P"}, "SK": {"S": "a"}}
TABLES = {"t": FakeTable(TABLE_DEFINITION, lambda: 0.0)}
ONE = {":one": {"N": "1"}}


def write(verb: str, **body: Any) -> Any:
    return parse_write({verb: {"TableName": "t", **body}}, TABLES)


def test_each_verb_changes_the_item() -> None:
    """Put replaces it, Update changes it, Delete removes it, ConditionCheck leaves it."""
    before = {**KEY, "n": {"N": "5"}}
    add = {"UpdateExpression": "SET n = n + :one", "ExpressionAttributeValues": ONE}
    check = {"ConditionExpression": "attribute_exists(PK)"}
    put_write = write("Put", Item={**KEY, "m": {"N": "1.0"}})
    assert apply_write(put_write, before) == {**KEY, "m": {"N": "1"}}
    assert apply_write(write("Update", Key=KEY, **add), before) == {**KEY, "n": {"N": "6"}}
    assert apply_write(write("Delete", Key=KEY), before) is None
    assert apply_write(write("ConditionCheck", Key=KEY, **check), before) == before


def test_an_update_creates_a_missing_item() -> None:
    """The created item has its key and what is set."""
    update = write(
        "Update", Key=KEY, UpdateExpression="SET n = :one", ExpressionAttributeValues=ONE
    )
    assert apply_write(update, None) == {**KEY, "n": {"N": "1"}}


def test_a_condition_is_of_the_current_item() -> None:
    """A missing item has no attributes; without a condition a write always applies."""
    absent = write("Put", Item=KEY, ConditionExpression="attribute_not_exists(PK)")
    assert condition_holds(absent, None)
    assert not condition_holds(absent, KEY)
    assert condition_holds(write("Delete", Key=KEY), KEY)


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("Replace", {"Key": KEY}),
        ("ConditionCheck", {"Key": KEY}),
        ("Delete", {"Key": {"PK": {"S": "P"}}}),
        ("Put", {"Item": {"PK": {"S": "P"}}}),
        ("Put", {"Item": {**KEY, "big": {"S": "x" * 409_600}}}),
        ("Put", {"Item": {**KEY, "GSI1PK": {"N": "1"}}}),
        ("Update", {"Key": KEY, "UpdateExpression": "SET PK = SK"}),
        ("Update", {"Key": KEY, "UpdateExpression": "SET n = SK REMOVE n"}),
        ("Delete", {"Key": KEY, "ReturnValuesOnConditionCheckFailure": "ALL_NEW"}),
    ],
)
def test_wrong_writes_are_refused(verb: str, body: dict[str, Any]) -> None:
    """Unknown verbs, missing keys or conditions, too large items and wrong targets raise."""
    with pytest.raises(InvalidRequest):
        write(verb, **body)


def test_a_write_to_a_missing_table_is_refused() -> None:
    """The table must exist."""
    with pytest.raises(TableNotFound):
        parse_write({"Delete": {"TableName": "other", "Key": KEY}}, TABLES)
