"""Attribute values: what DynamoDB accepts, and how it compares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.dynamodb.fake.errors import InvalidRequest
from ledger.dynamodb.fake.values import (
    SORT_KEY_BYTES_MAX,
    add_or_subtract,
    compare,
    equal,
    item_bytes,
    normalize,
    normalize_number,
    read_key_text,
)


@pytest.mark.parametrize(
    ("text", "stored"),
    [("5", "5"), ("5.00", "5"), ("-0.50e2", "-50"), ("0", "0"), ("0.10", "0.1"), ("007", "7")],
)
def test_numbers_have_one_spelling(text: str, stored: str) -> None:
    """Equal numbers are stored as equal texts."""
    assert normalize_number(text) == stored


@pytest.mark.parametrize("text", ["many", "1" * 39, "1e126", "1e-131", "NaN"])
def test_numbers_out_of_range_are_refused(text: str) -> None:
    """More than 38 digits, too large or small exponents, and other texts raise."""
    with pytest.raises(InvalidRequest):
        normalize_number(text)


@given(st.integers(-(10**20), 10**20), st.integers(-(10**20), 10**20))
def test_numbers_are_added_exactly(left: int, right: int) -> None:
    """Sum and difference of integers are exact."""
    one, other = {"N": str(left)}, {"N": str(right)}
    assert add_or_subtract(one, other, 1) == {"N": str(left + right)}
    assert add_or_subtract(one, other, -1) == {"N": str(left - right)}


def test_only_equal_types_are_compared() -> None:
    """Numbers compare by value; a number and a text, or a missing value, do not compare."""
    assert compare({"N": "9"}, {"N": "10"}) == -1
    assert compare({"S": "9"}, {"S": "10"}) == 1
    assert compare({"N": "9"}, {"S": "9"}) is None
    assert compare(None, {"S": "9"}) is None
    assert not equal(None, None)


@pytest.mark.parametrize("value", [{"SS": ["a"]}, {"NULL": False}, {"S": "a", "N": "1"}, {}])
def test_other_values_are_refused(value) -> None:
    """Sets, a false null, and values of no or two types raise."""
    with pytest.raises(InvalidRequest):
        normalize(value)


def test_deep_nesting_is_refused() -> None:
    """Lists may be nested in 32 levels."""
    value = {"S": "x"}
    for _ in range(31):
        value = {"L": [value]}
    normalize(value)
    with pytest.raises(InvalidRequest, match="Nesting"):
        normalize({"L": [value]})


@pytest.mark.parametrize("image", [{}, {"SK": {"N": "1"}}, {"SK": {"S": ""}}])
def test_a_key_is_a_text(image) -> None:
    """A missing, numeric or empty key attribute raises."""
    with pytest.raises(InvalidRequest):
        read_key_text(image, "SK", SORT_KEY_BYTES_MAX)


def test_the_size_of_an_item_is_names_and_values() -> None:
    """Text counts its bytes, a number half of its digits and one byte more."""
    assert item_bytes({"né": {"S": "é"}}) == 5
    assert item_bytes({"n": {"N": "1234"}}) == 4
