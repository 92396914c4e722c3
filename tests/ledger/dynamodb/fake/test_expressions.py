"""Conditions, updates and key conditions of the fake."""

import pytest

from ledger.dynamodb.fake.errors import InvalidRequest
from ledger.dynamodb.fake.expressions import (
    apply_update,
    bind_placeholders,
    parse_condition,
    parse_key_condition,
    parse_update,
)

IMAGE = {"n": {"N": "5"}, "s": {"S": "x"}}
ONE = {":one": {"N": "1"}}


def test_an_update_reads_the_item_before_it() -> None:
    """All operands are those before the update, whatever the order of the assignments."""
    change = parse_update("SET n = n + :one, m = n REMOVE s")
    context = bind_placeholders({}, ONE, {":one"})._replace(image=IMAGE)
    assert apply_update(change, context) == {"n": {"N": "6"}, "m": {"N": "5"}}


def test_an_update_of_a_missing_operand_is_refused() -> None:
    """An attribute that does not exist cannot be an operand."""
    context = bind_placeholders({}, ONE, {":one"})._replace(image=IMAGE)
    with pytest.raises(InvalidRequest, match="does not exist"):
        apply_update(parse_update("SET n = missing + :one"), context)


@pytest.mark.parametrize("text", ["", "ADD n :one", "SET n = :one SET s = :one"])
def test_other_updates_are_refused(text: str) -> None:
    """An empty update, a clause that the fake does not support, and a second SET raise."""
    with pytest.raises(InvalidRequest):
        parse_update(text)


@pytest.mark.parametrize("used", [set(), {":one", ":two"}])
def test_placeholders_must_be_exactly_those_used(used: set[str]) -> None:
    """A value that is not used and one that is missing raise."""
    with pytest.raises(InvalidRequest, match=r":(one|two)"):
        bind_placeholders({}, ONE, used)


def test_a_key_condition_may_have_a_prefix() -> None:
    """The partition alone, or the partition and the prefix of the sort key."""
    whole, part = (
        parse_key_condition(text)
        for text in ("#pk = :pk", "#pk = :pk AND begins_with(#sk, :prefix)")
    )
    assert (whole.partition, whole.sort) == ("#pk", None)
    assert (part.sort, part.sort_value) == ("#sk", ":prefix")


def test_an_expression_is_parsed_once() -> None:
    """The same text gives the same parsed condition."""
    assert parse_condition("n = :one") is parse_condition("n = :one")
