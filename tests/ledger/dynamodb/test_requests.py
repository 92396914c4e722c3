"""Requests to DynamoDB as they are built from the port's writes and queries."""

from ledger.dynamodb.requests import decode_reason, query_request, write_request
from ledger.dynamodb.table import CancelReason, Check, Delete, Key, Put, Query, Update

KEY = {"PK": {"S": "P"}, "SK": {"S": "a"}}


def test_each_write_becomes_its_verb():
    """Put, Update, Delete and Check are sent with their key, expression and condition."""
    key = Key("P", "a")
    add = Update(key=key, expression="SET n = n + :one", values={":one": 1})
    assert write_request("t", Put(item={"PK": "P", "SK": "a", "gone": None})) == {
        "Put": {"TableName": "t", "Item": KEY}
    }
    assert write_request("t", add) == {
        "Update": {
            "TableName": "t",
            "Key": KEY,
            "UpdateExpression": "SET n = n + :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }
    }
    assert write_request("t", Delete(key=key)) == {"Delete": {"TableName": "t", "Key": KEY}}
    check = write_request("t", Check(key=key, condition="#n = n", names={"#n": "n"}))
    assert check == {
        "ConditionCheck": {
            "TableName": "t",
            "Key": KEY,
            "ConditionExpression": "#n = n",
            "ExpressionAttributeNames": {"#n": "n"},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def test_a_query_of_the_table_is_consistent():
    """A partition of the table is read consistently, with one item more than the page."""
    request = query_request("t", Query(pk="P", prefix="N#", limit=3), 100)
    assert request["ConsistentRead"] is True
    assert request["Limit"] == 4
    assert request["KeyConditionExpression"] == "#pk = :pk AND begins_with(#sk, :sk)"
    assert request["ExpressionAttributeNames"] == {"#pk": "PK", "#sk": "SK"}
    assert request["ExpressionAttributeValues"] == {":pk": {"S": "P"}, ":sk": {"S": "N#"}}


def test_a_query_of_an_index_names_it():
    """An index has its own key attributes and no consistent reads."""
    request = query_request("t", Query(pk="G", index="GSI2", forward=False), 100)
    assert (request["IndexName"], "ConsistentRead" in request) == ("GSI2", False)
    assert request["ExpressionAttributeNames"] == {"#pk": "GSI2PK"}
    assert request["ScanIndexForward"] is False


def test_a_filtered_query_reads_whole_pages():
    """With `equals` at least the given number of items is read at a time."""
    request = query_request("t", Query(pk="P", limit=2, equals={"odd": 1, "even": 0}), 100)
    assert request["FilterExpression"] == "#e0 = :e0 AND #e1 = :e1"
    assert request["Limit"] == 100


def test_a_cancellation_reason_is_decoded():
    """A failed condition has its code and the item that was found; the others have neither."""
    failed = {"Code": "ConditionalCheckFailed", "Item": {"n": {"N": "1"}}}
    assert decode_reason(failed) == CancelReason("ConditionalCheckFailed", {"n": 1})
    assert decode_reason({"Code": "None"}) == CancelReason(None, None)
