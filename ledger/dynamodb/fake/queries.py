"""Query: one page of a partition or index."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ledger.dynamodb.fake import expressions
from ledger.dynamodb.fake.errors import InvalidRequest
from ledger.dynamodb.fake.expressions import Condition, ExpressionContext, KeyCondition
from ledger.dynamodb.fake.storage import FakeTable, KeyRange
from ledger.dynamodb.fake.values import Image, item_bytes

QUERY_PARAMETERS = frozenset(
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
# Source: DynamoDB limits: a page ends after the item with which it exceeds 1 MB.
PAGE_BYTES_MAX = 1024 * 1024


class _ParsedQuery(NamedTuple):
    """A well-formed query."""

    table: FakeTable
    key_names: tuple[str, ...]
    key_range: KeyRange
    index_name: str | None
    start_key: Any
    limit: int | None
    filter: Condition | None
    scope: ExpressionContext


def run_query(table: FakeTable, request: Mapping[str, Any]) -> dict[str, Any]:
    """One page. Errors: InvalidRequest."""
    query = _parse_query(table, request)
    found: list[Image] = []
    scanned = size = 0
    last: Image | None = None
    for image in _iterate(query):
        scanned += 1
        if query.filter is None or query.filter.test(query.scope._replace(image=image)):
            found.append(dict(image))
        size += item_bytes(image)
        if scanned == query.limit or size > PAGE_BYTES_MAX:
            last = {name: image[name] for name in query.key_names}
            break
    answer: dict[str, Any] = {"Items": found, "Count": len(found), "ScannedCount": scanned}
    return answer if last is None else {**answer, "LastEvaluatedKey": last}


def _parse_query(table: FakeTable, request: Mapping[str, Any]) -> _ParsedQuery:
    name = request.get("IndexName")
    if name is not None and request.get("ConsistentRead"):
        raise InvalidRequest("Consistent reads are not supported on global secondary indexes")
    limit = request.get("Limit")
    if limit is not None and limit < 1:
        raise InvalidRequest("Limit must be at least 1")
    key_condition = expressions.parse_key_condition(request["KeyConditionExpression"])
    filter_text = request.get("FilterExpression")
    condition = expressions.parse_condition(filter_text) if filter_text else None
    names = request.get("ExpressionAttributeNames", {})
    values = request.get("ExpressionAttributeValues", {})
    placeholders = set(key_condition.placeholders) | set(
        condition.placeholders if condition else ()
    )
    scope = expressions.bind_placeholders(names, values, placeholders)
    key_names = (f"{name or ''}PK", f"{name or ''}SK")
    keys = key_names if name is None else (*key_names, "PK", "SK")
    if name is not None and table.caught_up_index(name) is None:
        raise InvalidRequest(f"The table does not have the specified index: {name}")
    _check_filter(condition, scope, key_names)
    return _ParsedQuery(
        table=table,
        key_names=keys,
        key_range=_key_range(
            key_condition, scope, key_names, forward=request.get("ScanIndexForward", True)
        ),
        index_name=name,
        start_key=_start_key(request.get("ExclusiveStartKey"), keys),
        limit=limit,
        filter=condition,
        scope=scope,
    )


def _iterate(query: _ParsedQuery) -> Iterator[Image]:
    after = query.start_key
    if query.index_name is None:
        return query.table.iterate(query.key_range, after and after[1])
    index = query.table.caught_up_index(query.index_name)
    assert index is not None, "checked when the query was parsed"
    return index.iterate(query.key_range, after and after[1:])


def _key_range(
    condition: KeyCondition, scope: ExpressionContext, key_names: tuple[str, str], *, forward: bool
) -> KeyRange:
    partition = scope.attribute_name(condition.partition)
    if partition != key_names[0] or (
        condition.sort and scope.attribute_name(condition.sort) != key_names[1]
    ):
        raise InvalidRequest(f"Query condition missed key schema element: {key_names[0]}")
    prefix = _key_value(scope, condition.sort_value) if condition.sort_value else ""
    return KeyRange(_key_value(scope, condition.partition_value), prefix, forward)


def _key_value(scope: ExpressionContext, placeholder: str) -> str:
    value = scope.values[placeholder]
    if not value.get("S"):
        raise InvalidRequest(
            "One or more parameter values are not valid: a key is a string, never empty"
        )
    return value["S"]


def _start_key(key: Image | None, key_names: tuple[str, ...]) -> Any:
    if key is None:
        return None
    if key.keys() != set(key_names):
        raise InvalidRequest("The provided starting key is invalid")
    return tuple(key[name]["S"] for name in key_names)


def _check_filter(
    condition: Condition | None, scope: ExpressionContext, key_names: tuple[str, str]
) -> None:
    for path in sorted(condition.paths if condition else ()):
        if scope.attribute_name(path[0]) in key_names:
            raise InvalidRequest(
                f"Filter Expression can only contain non-primary key attributes: {path}"
            )
