"""DynamoDB expressions of the fake: conditions, updates and key conditions."""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from ledger.dynamodb.fake.errors import InvalidRequest
from ledger.dynamodb.fake.expression_parser import (
    ExpressionContext,
    ExpressionParser,
    Operand,
    Path,
    Test,
)
from ledger.dynamodb.fake.values import Image, Value, normalize

# Parsed expressions in the cache. Source: chosen.
_CACHED_MAX = 8192


class Condition(NamedTuple):
    """A condition or filter; `placeholders` and `paths` are those that it contains."""

    test: Test
    placeholders: frozenset[str]
    paths: frozenset[Path]


class UpdateExpression(NamedTuple):
    """An update: the assignments of SET and the attributes of REMOVE."""

    sets: tuple[tuple[str, Operand], ...]
    removes: tuple[str, ...]
    placeholders: frozenset[str]


class KeyCondition(NamedTuple):
    """A key condition: the partition, and the prefix of the sort key or None."""

    partition: str
    partition_value: str
    sort: str | None
    sort_value: str | None
    placeholders: frozenset[str]


@lru_cache(maxsize=_CACHED_MAX)
def parse_condition(text: str) -> Condition:
    """Parse a condition or filter. Errors: InvalidRequest."""
    parser = ExpressionParser(text)
    test = parser.parse_disjunction()
    parser.expect_end()
    return Condition(test, frozenset(parser.placeholders), frozenset(parser.paths))


@lru_cache(maxsize=_CACHED_MAX)
def parse_update(text: str) -> UpdateExpression:
    """Parse an update. Errors: InvalidRequest."""
    parser = ExpressionParser(text)
    sets: list[tuple[str, Operand]] = []
    removes: list[str] = []
    seen: set[str] = set()
    while not parser.is_at_end():
        clause = parser.take_token().upper()
        if clause in seen:
            raise InvalidRequest(
                f'The "{clause}" section can only be used once in an update expression'
            )
        seen.add(clause)
        if clause == "SET":
            sets = parser.parse_list(parser.parse_assignment)
        elif clause == "REMOVE":
            removes = parser.parse_list(parser.parse_attribute)
        else:
            raise InvalidRequest(f"the fake does not support {clause!r} in an update")
    if not seen:
        raise InvalidRequest("Invalid UpdateExpression: The expression can not be empty")
    return UpdateExpression(tuple(sets), tuple(removes), frozenset(parser.placeholders))


@lru_cache(maxsize=_CACHED_MAX)
def parse_key_condition(text: str) -> KeyCondition:
    """Parse `pk = :pk` or `pk = :pk AND begins_with(sk, :sk)`. Errors: InvalidRequest."""
    parser = ExpressionParser(text)
    partition = parser.parse_attribute()
    parser.expect("=")
    partition_value = parser.parse_placeholder()
    if parser.is_at_end():
        return KeyCondition(partition, partition_value, None, None, frozenset(parser.placeholders))
    for word in ("AND", "begins_with", "("):
        parser.expect(word)
    sort = parser.parse_attribute()
    parser.expect(",")
    sort_value = parser.parse_placeholder()
    parser.expect(")")
    parser.expect_end()
    return KeyCondition(
        partition, partition_value, sort, sort_value, frozenset(parser.placeholders)
    )


def bind_placeholders(
    names: Mapping[str, str], values: Mapping[str, Value], placeholders: set[str]
) -> ExpressionContext:
    """Names and values of a request, which must be exactly those that its expressions use.

    Errors: InvalidRequest.
    """
    given = names.keys() | values.keys()
    for missing in sorted(placeholders - given):
        raise InvalidRequest(f"An expression attribute name or value is not defined: {missing}")
    for spare in sorted(given - placeholders):
        raise InvalidRequest(
            f"Value provided in ExpressionAttribute unused in expressions: {spare}"
        )
    return ExpressionContext({}, names, {name: normalize(value) for name, value in values.items()})


def apply_update(change: UpdateExpression, context: ExpressionContext) -> Image:
    """The item after an update; all operands are read from the item before it.

    Errors: InvalidRequest where an operand is missing or no number.
    """
    after = dict(context.image)
    for name, operand in change.sets:
        value = operand(context)
        if value is None:
            raise InvalidRequest(
                "The provided expression refers to an attribute that does not exist in the item"
            )
        after[context.attribute_name(name)] = value
    for name in change.removes:
        after.pop(context.attribute_name(name), None)
    return after
