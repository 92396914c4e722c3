"""Requests and answers of DynamoDB's low-level client, from and to the types of the port."""

from typing import Any

from ledger.dynamodb.attribute_values import from_item, to_attribute, to_item
from ledger.dynamodb.table import (
    CancelReason,
    Check,
    Delete,
    Item,
    Key,
    Put,
    Query,
    Update,
    Write,
)

# One operation's parameters, and its answer, as the low-level client takes and returns them.
Request = dict[str, Any]
Response = dict[str, Any]


def encode_key(key: Key) -> Request:
    """The key attributes of an item."""
    return {"PK": {"S": key.pk}, "SK": {"S": key.sk}}


def decode_item(answer: Response) -> Item | None:
    """The item of a GetItem answer or a cancellation reason; None where there is none."""
    return from_item(answer["Item"]) if answer.get("Item") else None


def decode_reason(reason: Response) -> CancelReason:
    """One cancellation reason of a transaction."""
    code = reason.get("Code")
    return CancelReason(None if code == "None" else code, decode_item(reason))


def write_request(table: str, write: Write) -> Request:
    """One write of TransactWriteItems; a failed condition returns the item that was found."""
    request = {"TableName": table, **_condition_parameters(write)}
    match write:
        case Put(item=item):
            return {"Put": {**request, "Item": to_item(item)}}
        case Update(key=key, expression=text):
            return {"Update": {**request, "Key": encode_key(key), "UpdateExpression": text}}
        case Delete(key=key):
            return {"Delete": {**request, "Key": encode_key(key)}}
        case Check(key=key):
            return {"ConditionCheck": {**request, "Key": encode_key(key)}}


def query_request(table: str, query: Query, filter_page_items: int) -> Request:
    """The parameters of Query, one item more than asked for, to see if a next page exists.

    With a filter at least `filter_page_items` are read at a time.
    """
    prefix = query.index or ""
    names = {"#pk": f"{prefix}PK"}
    values: Item = {":pk": query.pk}
    condition = "#pk = :pk"
    if query.prefix:
        names["#sk"] = f"{prefix}SK"
        values[":sk"] = query.prefix
        condition += " AND begins_with(#sk, :sk)"
    request: Request = {
        "TableName": table,
        "KeyConditionExpression": condition,
        "ScanIndexForward": query.forward,
        "Limit": query.limit + 1,
    }
    if query.index:
        request["IndexName"] = query.index
    else:
        request["ConsistentRead"] = True
    if query.equals:
        names |= {f"#e{i}": name for i, name in enumerate(query.equals)}
        values |= {f":e{i}": value for i, value in enumerate(query.equals.values())}
        request["FilterExpression"] = " AND ".join(
            f"#e{i} = :e{i}" for i in range(len(query.equals))
        )
        request["Limit"] = max(filter_page_items, query.limit + 1)
    request["ExpressionAttributeNames"] = names
    request["ExpressionAttributeValues"] = to_item(values)
    return request


def _condition_parameters(write: Write) -> Request:
    request: Request = {}
    if write.condition is not None:
        request["ConditionExpression"] = write.condition
        request["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    if write.names:
        request["ExpressionAttributeNames"] = write.names
    if write.values:
        request["ExpressionAttributeValues"] = {k: to_attribute(v) for k, v in write.values.items()}
    return request
