"""Queries of the fake, page by page."""

from typing import Any

import pytest

from ledger.dynamodb.fake.errors import InvalidRequest
from ledger.dynamodb.fake.queries import run_query
from ledger.dynamodb.fake.storage import FakeTable
from ledger.dynamodb.schema import TABLE_DEFINITION


def table_with(count: int, text: str = "x") -> FakeTable:
    table = FakeTable(TABLE_DEFINITION, lambda: 0.0)
    for n in range(count):
        key = {"PK": {"S": "P"}, "SK": {"S": f"{n:03d}"}}
        index = {"GSI1PK": {"S": "G"}, "GSI1SK": {"S": f"{count - n:03d}"}}
        image = {**key, **index, "n": {"N": str(n)}, "text": {"S": text}}
        table.put(("P", f"{n:03d}"), image, 0.0)
    return table


def request(**more: Any) -> dict[str, Any]:
    values = {":pk": {"S": "P"}, **more.pop("values", {})}
    condition = {"KeyConditionExpression": "PK = :pk"}
    return {**condition, "ExpressionAttributeValues": values, **more}


def numbers(answer: dict[str, Any]) -> list[int]:
    return [int(item["n"]["N"]) for item in answer["Items"]]


def test_pages_follow_one_another() -> None:
    """The last evaluated key of a page is the start of the next one."""
    table = table_with(5)
    first = run_query(table, request(Limit=3))
    second = run_query(table, request(Limit=3, ExclusiveStartKey=first["LastEvaluatedKey"]))
    assert (numbers(first), numbers(second)) == ([0, 1, 2], [3, 4])
    assert "LastEvaluatedKey" not in second


def test_a_filter_counts_what_it_drops() -> None:
    """The limit is of items read, not of items that pass the filter."""
    wanted = {"FilterExpression": "n = :n", "values": {":n": {"N": "4"}}}
    answer = run_query(table_with(5), request(Limit=4, **wanted))
    assert (answer["Count"], answer["ScannedCount"]) == (0, 4)
    assert "LastEvaluatedKey" in answer


def test_a_page_ends_at_a_megabyte() -> None:
    """A page ends after the item with which it exceeds 1 MB."""
    answer = run_query(table_with(5, "x" * 300_000), request())
    assert numbers(answer) == [0, 1, 2, 3]


def test_an_index_has_its_own_order() -> None:
    """An index is read in the order of its sort key."""
    asked = {
        "IndexName": "GSI1",
        "KeyConditionExpression": "GSI1PK = :pk",
        "ExpressionAttributeValues": {":pk": {"S": "G"}},
    }
    assert numbers(run_query(table_with(3), asked)) == [2, 1, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        request(Limit=0),
        request(IndexName="GSI1", ConsistentRead=True),
        request(IndexName="GSI9"),
        request(KeyConditionExpression="n = :pk"),
        request(FilterExpression="PK = :pk"),
        request(ExclusiveStartKey={"PK": {"S": "P"}}),
        request(values={":pk": {"S": ""}}),
    ],
)
def test_wrong_queries_are_refused(wrong: dict[str, Any]) -> None:
    """Wrong limits, indexes, key conditions, filters and start keys raise."""
    with pytest.raises(InvalidRequest):
        run_query(table_with(1), wrong)
