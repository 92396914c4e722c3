"""One write of a transaction: parsing it, checking its condition, applying it."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

from ledger.dynamodb.fake import expressions
from ledger.dynamodb.fake.errors import InvalidRequest, refuse_unsupported
from ledger.dynamodb.fake.expressions import Condition, ExpressionContext, UpdateExpression
from ledger.dynamodb.fake.storage import FakeTable, ItemKey, find_table
from ledger.dynamodb.fake.values import (
    ITEM_BYTES_MAX,
    PARTITION_KEY_BYTES_MAX,
    SORT_KEY_BYTES_MAX,
    Image,
    item_bytes,
    normalize,
    read_key_text,
)

Verb = Literal["Put", "Update", "Delete", "ConditionCheck"]
PARTITION_ATTRIBUTE, SORT_ATTRIBUTE = "PK", "SK"

_COMMON_PARAMETERS = frozenset(
    {
        "TableName",
        "ConditionExpression",
        "ReturnValuesOnConditionCheckFailure",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
    }
)
_VERB_PARAMETERS: dict[str, frozenset[str]] = {
    "Put": frozenset({"Item"}),
    "Update": frozenset({"Key", "UpdateExpression"}),
    "Delete": frozenset({"Key"}),
    "ConditionCheck": frozenset({"Key"}),
}


class ParsedWrite(NamedTuple):
    """A well-formed write; `put_item` is the item of a Put."""

    verb: Verb
    table: FakeTable
    table_name: str
    key: ItemKey
    condition: Condition | None
    change: UpdateExpression | None
    put_item: Image | None
    scope: ExpressionContext
    returns_old: bool

    @property
    def key_item(self) -> Image:
        """The item's key attributes."""
        return {PARTITION_ATTRIBUTE: {"S": self.key[0]}, SORT_ATTRIBUTE: {"S": self.key[1]}}


def parse_write(part: Mapping[str, Any], tables: Mapping[str, FakeTable]) -> ParsedWrite:
    """Parse one write of a request.

    Errors: InvalidRequest; TableNotFound.
    """
    if len(part) != 1:
        raise InvalidRequest("TransactItems can only contain one of Check, Put, Update or Delete")
    ((verb, body),) = part.items()
    if verb not in _VERB_PARAMETERS:
        raise InvalidRequest(f"the fake does not support {verb} in a transaction")
    refuse_unsupported(body, _COMMON_PARAMETERS | _VERB_PARAMETERS[verb])
    table = find_table(tables, body["TableName"])
    shows_old = body.get("ReturnValuesOnConditionCheckFailure", "NONE")
    if shows_old not in {"NONE", "ALL_OLD"}:
        raise InvalidRequest(f"the fake does not support returning {shows_old}")
    condition = _condition(body, is_wanted=verb == "ConditionCheck")
    change = expressions.parse_update(body["UpdateExpression"]) if verb == "Update" else None
    placeholders = set(condition.placeholders if condition else ()) | set(
        change.placeholders if change else ()
    )
    names = body.get("ExpressionAttributeNames", {})
    scope = expressions.bind_placeholders(
        names, body.get("ExpressionAttributeValues", {}), placeholders
    )
    put = _normalize_item(body["Item"], table) if verb == "Put" else None
    key = key_of_image(put) if put is not None else parse_key(body["Key"])
    if change is not None:
        _check_targets(change, scope)
    return ParsedWrite(
        verb=cast("Verb", verb),
        table=table,
        table_name=body["TableName"],
        key=key,
        condition=condition,
        change=change,
        put_item=put,
        scope=scope,
        returns_old=shows_old == "ALL_OLD",
    )


def condition_holds(write: ParsedWrite, image: Image | None) -> bool:
    """Whether the write's condition holds for the current item."""
    condition = write.condition
    return condition is None or condition.test(write.scope._replace(image=image or {}))


def apply_write(write: ParsedWrite, image: Image | None) -> Image | None:
    """The item after the write; None if it does not exist then.

    Errors: InvalidRequest where the change does not fit the item.
    """
    if write.verb == "Put":
        return write.put_item
    if write.verb == "Delete":
        return None
    if write.verb == "ConditionCheck":
        return image
    assert write.change is not None
    before = write.key_item if image is None else image
    after = expressions.apply_update(write.change, write.scope._replace(image=before))
    _check_item(after, write.table)
    return after


def parse_key(key: Image) -> ItemKey:
    """The key in a request. Errors: InvalidRequest."""
    if key.keys() != {PARTITION_ATTRIBUTE, SORT_ATTRIBUTE}:
        raise InvalidRequest("The provided key element does not match the schema")
    return key_of_image(key)


def key_of_image(image: Image) -> ItemKey:
    """The key of an item. Errors: InvalidRequest."""
    return (
        read_key_text(image, PARTITION_ATTRIBUTE, PARTITION_KEY_BYTES_MAX),
        read_key_text(image, SORT_ATTRIBUTE, SORT_KEY_BYTES_MAX),
    )


def _condition(body: Mapping[str, Any], *, is_wanted: bool) -> Condition | None:
    text = body.get("ConditionExpression")
    if text is None:
        if is_wanted:
            raise InvalidRequest("a ConditionCheck needs a ConditionExpression")
        return None
    return expressions.parse_condition(text)


def _normalize_item(item: Image, table: FakeTable) -> Image:
    image = {name: normalize(value) for name, value in item.items()}
    _check_item(image, table)
    return image


def _check_item(image: Image, table: FakeTable) -> None:
    if item_bytes(image) > ITEM_BYTES_MAX:
        raise InvalidRequest("Item size has exceeded the maximum allowed size")
    for index in table.indexes.values():
        if index.partition_attribute in image:
            read_key_text(image, index.partition_attribute, PARTITION_KEY_BYTES_MAX)
        if index.sort_attribute in image:
            read_key_text(image, index.sort_attribute, SORT_KEY_BYTES_MAX)


def _check_targets(change: UpdateExpression, scope: ExpressionContext) -> None:
    targets = [
        scope.attribute_name(name) for name in (*(n for n, _ in change.sets), *change.removes)
    ]
    for name in targets:
        if name in {PARTITION_ATTRIBUTE, SORT_ATTRIBUTE}:
            raise InvalidRequest(
                f"Cannot update attribute {name}. This attribute is part of the key"
            )
        if targets.count(name) > 1:
            raise InvalidRequest(f"Two document paths overlap with each other: {name}")
