"""Identifiers: new ones are valid, unique and sorted by time; others are checked by one pattern."""

import re

import pytest

from dispatch.ids import ID_PATTERN, is_id, new_id, new_offer_id, new_order_id


@pytest.mark.parametrize("text", ["a", "ord_1", "A-b_9", "x" * 64])
def test_valid_ids_match(text: str):
    """1 to 64 letters, digits, hyphens and underscores are an id."""
    assert is_id(text)
    assert re.search(ID_PATTERN, text)


@pytest.mark.parametrize("text", ["", "x" * 65, "a:b", "a#b", "a b", "é", "a\n", "a\0", "٣"])
def test_other_text_does_not_match(text: str):
    """Separators of keys, spaces, other scripts, line breaks and other lengths are no id."""
    assert not is_id(text)
    assert not re.search(ID_PATTERN, text)


@pytest.mark.parametrize("value", [None, 1, b"ord_1", ["ord_1"]])
def test_other_types_are_no_ids(value: object):
    """Only text is an id."""
    assert not is_id(value)


def test_new_ids_are_unique_and_sorted():
    """Ids of one process are valid, all different, and sort by creation."""
    made = [new_id("evt") for _ in range(1_000)]
    assert all(map(is_id, made))
    assert sorted(set(made)) == made


def test_kinds_have_prefixes():
    """Orders and offers have their prefix."""
    assert new_order_id().startswith("ord_")
    assert new_offer_id().startswith("ofr_")
