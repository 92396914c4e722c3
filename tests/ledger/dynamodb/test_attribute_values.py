"""Python values as DynamoDB's attribute values and back."""

from enum import StrEnum
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from ledger.dynamodb.attribute_values import from_attribute, from_item, to_attribute, to_item

SCALARS = st.one_of(
    st.text(), st.integers(-(10**30), 10**30), st.booleans(), st.none(), st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


class Colour(StrEnum):
    RED = "RED"


@given(VALUES)
def test_a_value_round_trips(value: Any):
    """Text, integers, booleans, None, bytes, lists and maps are decoded as they were encoded."""
    assert from_attribute(to_attribute(value)) == value


@given(st.recursive(st.one_of(st.text(), st.integers(), st.booleans()), st.lists, max_leaves=6))
def test_values_are_encoded_as_by_the_library(value: Any):
    """The encoding is that of boto3's TypeSerializer."""
    assert to_attribute(value) == TypeSerializer().serialize(value)


@given(st.floats(min_value=1e-100, max_value=1e100))
def test_a_float_round_trips(value: float):
    """A float is decoded to the same number."""
    assert from_attribute(to_attribute(value)) == value


def test_none_is_left_out_at_the_top_only():
    """A None attribute is not stored; inside a map it is."""
    item = {"gone": None, "kept": {"none": None}}
    assert from_item(to_item(item)) == {"kept": {"none": None}}


def test_a_string_enumeration_is_stored_as_its_text():
    """An enumeration's value is what is stored."""
    assert to_attribute(Colour.RED) == {"S": "RED"}


@pytest.mark.parametrize(
    ("value", "error"),
    [(object(), TypeError), ({1, 2}, TypeError), (float("nan"), ValueError), (1e999, ValueError)],
)
def test_what_dynamodb_cannot_store_is_refused(value: Any, error: type[Exception]):
    """Other types, NaN and infinity raise before anything is sent."""
    with pytest.raises(error, match="DynamoDB cannot store"):
        to_attribute(value)


def test_a_set_cannot_be_decoded():
    """The set types are never written here, and reading one raises."""
    with pytest.raises(ValueError, match="SS"):
        from_attribute({"SS": ["a"]})
