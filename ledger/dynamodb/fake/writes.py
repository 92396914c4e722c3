"""One write of a transaction: what it asks, whether it may, and what the item becomes."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

from ledger.dynamodb.fake import expressions
from ledger.dynamodb.fake.errors import Wrong, only
from ledger.dynamodb.fake.expressions import Change, Condition, Scope
from ledger.dynamodb.fake.storage import Place, Shelves, find
from ledger.dynamodb.fake.values import (
    ITEM_BYTES_MAX,
    PARTITION_KEY_BYTES_MAX,
    SORT_KEY_BYTES_MAX,
    Image,
    key_text,
    normal,
    size_of,
)

Verb = Literal["Put", "Update", "Delete", "ConditionCheck"]
PARTITION, SORT = "PK", "SK"

_COMMON = frozenset(
    {
        "TableName",
        "ConditionExpression",
        "ReturnValuesOnConditionCheckFailure",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
    }
)
_OWN: dict[str, frozenset[str]] = {
    "Put": frozenset({"Item"}),
    "Update": frozenset({"Key", "UpdateExpression"}),
    "Delete": frozenset({"Key"}),
    "ConditionCheck": frozenset({"Key"}),
}


class Asked(NamedTuple):
    """A write that is well formed; `put` is the item of a Put."""

    verb: Verb
    shelves: Shelves
    table: str
    place: Place
    condition: Condition | None
    change: Change | None
    put: Image | None
    scope: Scope
    shows_old: bool

    @property
    def key(self) -> Image:
        """The item's key."""
        return {PARTITION: {"S": self.place[0]}, SORT: {"S": self.place[1]}}


def read_write(part: Mapping[str, Any], tables: Mapping[str, Shelves]) -> Asked:
    """Read one write of a request.

    Errors: Wrong; NoTable.
    """
    if len(part) != 1:
        raise Wrong("TransactItems can only contain one of Check, Put, Update or Delete")
    ((verb, body),) = part.items()
    if verb not in _OWN:
        raise Wrong(f"the fake knows no {verb} in a transaction")
    only(body, _COMMON | _OWN[verb])
    shelves = find(tables, body["TableName"])
    shows_old = body.get("ReturnValuesOnConditionCheckFailure", "NONE")
    if shows_old not in {"NONE", "ALL_OLD"}:
        raise Wrong(f"the fake returns no {shows_old}")
    condition = _condition(body, is_wanted=verb == "ConditionCheck")
    change = expressions.change(body["UpdateExpression"]) if verb == "Update" else None
    used = set(condition.used if condition else ()) | set(change.used if change else ())
    names = body.get("ExpressionAttributeNames", {})
    scope = expressions.scope(names, body.get("ExpressionAttributeValues", {}), used)
    put = _whole(body["Item"], shelves) if verb == "Put" else None
    place = place_of(put) if put is not None else read_place(body["Key"])
    if change is not None:
        _check_targets(change, scope)
    return Asked(
        verb=cast("Verb", verb),
        shelves=shelves,
        table=body["TableName"],
        place=place,
        condition=condition,
        change=change,
        put=put,
        scope=scope,
        shows_old=shows_old == "ALL_OLD",
    )


def may(asked: Asked, image: Image | None) -> bool:
    """Whether the write's condition holds on the item as it stands."""
    condition = asked.condition
    return condition is None or condition.test(asked.scope._replace(image=image or {}))


def outcome(asked: Asked, image: Image | None) -> Image | None:
    """The item after the write; None where it is gone.

    Errors: Wrong where the change does not fit the item.
    """
    match asked.verb:
        case "Put":
            return asked.put
        case "Delete":
            return None
        case "ConditionCheck":
            return image
    assert asked.change is not None
    before = asked.key if image is None else image
    after = expressions.changed(asked.change, asked.scope._replace(image=before))
    _check_item(after, asked.shelves)
    return after


def read_place(key: Image) -> Place:
    """The place that a key names. Errors: Wrong."""
    if key.keys() != {PARTITION, SORT}:
        raise Wrong("The provided key element does not match the schema")
    return place_of(key)


def place_of(image: Image) -> Place:
    """The place that an item has. Errors: Wrong."""
    return (
        key_text(image, PARTITION, PARTITION_KEY_BYTES_MAX),
        key_text(image, SORT, SORT_KEY_BYTES_MAX),
    )


def _condition(body: Mapping[str, Any], *, is_wanted: bool) -> Condition | None:
    text = body.get("ConditionExpression")
    if text is None:
        if is_wanted:
            raise Wrong("a ConditionCheck needs a ConditionExpression")
        return None
    return expressions.condition(text)


def _whole(item: Image, shelves: Shelves) -> Image:
    image = {name: normal(value) for name, value in item.items()}
    _check_item(image, shelves)
    return image


def _check_item(image: Image, shelves: Shelves) -> None:
    if size_of(image) > ITEM_BYTES_MAX:
        raise Wrong("Item size has exceeded the maximum allowed size")
    for index in shelves.indexes.values():
        if index.partition in image:
            key_text(image, index.partition, PARTITION_KEY_BYTES_MAX)
        if index.sort in image:
            key_text(image, index.sort, SORT_KEY_BYTES_MAX)


def _check_targets(change: Change, scope: Scope) -> None:
    targets = [scope.named(name) for name in (*(n for n, _ in change.sets), *change.removes)]
    for name in targets:
        if name in {PARTITION, SORT}:
            raise Wrong(f"Cannot update attribute {name}. This attribute is part of the key")
        if targets.count(name) > 1:
            raise Wrong(f"Two document paths overlap with each other: {name}")
