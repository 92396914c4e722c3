"""A Query: a stretch of a partition or index, page by page."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ledger.dynamodb.fake import expressions
from ledger.dynamodb.fake.errors import Wrong
from ledger.dynamodb.fake.expressions import Condition, Scope, Span
from ledger.dynamodb.fake.storage import Shelves, Stretch
from ledger.dynamodb.fake.values import Image, size_of

QUERY = frozenset(
    {
        "TableName",
        "IndexName",
        "KeyConditionExpression",
        "FilterExpression",
        "ExpressionAttributeNames",
        "ExpressionAttributeValues",
        "ScanIndexForward",
        "ConsistentRead",
        "Limit",
        "ExclusiveStartKey",
    }
)
# Source: DynamoDB limits: a page ends behind the item that passes 1 MB.
PAGE_BYTES_MAX = 1024 * 1024


class _Asked(NamedTuple):
    """A query that is well formed."""

    shelves: Shelves
    keys: tuple[str, ...]
    stretch: Stretch
    index_name: str | None
    after: Any
    limit: int | None
    filter: Condition | None
    scope: Scope


def answer_query(shelves: Shelves, request: Mapping[str, Any]) -> dict[str, Any]:
    """One page. Errors: Wrong."""
    asked = _read(shelves, request)
    found: list[Image] = []
    scanned = size = 0
    last: Image | None = None
    for image in _walk(asked):
        scanned += 1
        if asked.filter is None or asked.filter.test(asked.scope._replace(image=image)):
            found.append(dict(image))
        size += size_of(image)
        if scanned == asked.limit or size > PAGE_BYTES_MAX:
            last = {name: image[name] for name in asked.keys}
            break
    answer: dict[str, Any] = {"Items": found, "Count": len(found), "ScannedCount": scanned}
    return answer if last is None else {**answer, "LastEvaluatedKey": last}


def _read(shelves: Shelves, request: Mapping[str, Any]) -> _Asked:
    name = request.get("IndexName")
    if name is not None and request.get("ConsistentRead"):
        raise Wrong("Consistent reads are not supported on global secondary indexes")
    limit = request.get("Limit")
    if limit is not None and limit < 1:
        raise Wrong("Limit must be at least 1")
    span = expressions.span(request["KeyConditionExpression"])
    text = request.get("FilterExpression")
    condition = expressions.condition(text) if text else None
    names = request.get("ExpressionAttributeNames", {})
    values = request.get("ExpressionAttributeValues", {})
    used = set(span.used) | set(condition.used if condition else ())
    scope = expressions.scope(names, values, used)
    places = (f"{name or ''}PK", f"{name or ''}SK")
    keys = places if name is None else (*places, "PK", "SK")
    if name is not None and shelves.index(name) is None:
        raise Wrong(f"The table does not have the specified index: {name}")
    _check_filter(condition, scope, places)
    return _Asked(
        shelves=shelves,
        keys=keys,
        stretch=_stretch(span, scope, places, forward=request.get("ScanIndexForward", True)),
        index_name=name,
        after=_start(request.get("ExclusiveStartKey"), keys),
        limit=limit,
        filter=condition,
        scope=scope,
    )


def _walk(asked: _Asked) -> Iterator[Image]:
    after = asked.after
    if asked.index_name is None:
        return asked.shelves.walk(asked.stretch, after and after[1])
    index = asked.shelves.index(asked.index_name)
    assert index is not None, "looked for before"
    return index.walk(asked.stretch, after and after[1:])


def _stretch(span: Span, scope: Scope, places: tuple[str, str], *, forward: bool) -> Stretch:
    partition = scope.named(span.partition)
    if partition != places[0] or (span.sort and scope.named(span.sort) != places[1]):
        raise Wrong(f"Query condition missed key schema element: {places[0]}")
    prefix = _text(scope, span.sort_value) if span.sort_value else ""
    return Stretch(_text(scope, span.partition_value), prefix, forward)


def _text(scope: Scope, placeholder: str) -> str:
    value = scope.values[placeholder]
    if not value.get("S"):
        raise Wrong("One or more parameter values are not valid: a key is a string, never empty")
    return value["S"]


def _start(key: Image | None, keys: tuple[str, ...]) -> Any:
    if key is None:
        return None
    if key.keys() != set(keys):
        raise Wrong("The provided starting key is invalid")
    return tuple(key[name]["S"] for name in keys)


def _check_filter(condition: Condition | None, scope: Scope, places: tuple[str, str]) -> None:
    for path in sorted(condition.paths if condition else ()):
        if scope.named(path[0]) in places:
            raise Wrong(f"Filter Expression can only contain non-primary key attributes: {path}")
