"""Pagination and query parameters: what is accepted, and what is malformed."""

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from dispatch.errors import Refusal, Refused
from dispatch.storage.paging import PageRequest
from handlers.http.framework.pagination import (
    CURSOR_CHARS_MAX,
    choice_of,
    id_of,
    listing,
    number_of,
    order_id_of,
    page_of,
    rider_id_of,
    timestamp_of,
)


def query(text: str) -> web.Request:
    return make_mocked_request("GET", f"/?{text}")


def path(**values: str) -> web.Request:
    return make_mocked_request("GET", "/", match_info=values)


def code_of(refused: pytest.ExceptionInfo[Refused]) -> Refusal:
    return refused.value.code


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("", PageRequest(50)),
        ("limit=1", PageRequest(1)),
        ("limit=100&cursor=abc", PageRequest(100, "abc")),
        ("cursor=", PageRequest(50)),
        (f"cursor={'a' * CURSOR_CHARS_MAX}", PageRequest(50, "a" * CURSOR_CHARS_MAX)),
    ],
)
def test_a_page_has_a_limit_and_a_cursor(text: str, page: PageRequest):
    """Without a limit it has 50 items; an empty cursor is the first page."""
    assert page_of(query(text)) == page


@pytest.mark.parametrize(
    "text",
    ["limit=0", "limit=101", "limit=-1", "limit=1_0", "limit=%D9%A3", "limit=", "limit=0100"],
)
def test_a_limit_is_a_whole_number_from_1_to_100(text: str):
    """In ASCII digits, and no more than three of them."""
    with pytest.raises(Refused) as refused:
        page_of(query(text))
    assert code_of(refused) is Refusal.MALFORMED


def test_a_cursor_is_bounded():
    """One longer than any of ours is malformed."""
    with pytest.raises(Refused) as refused:
        page_of(query(f"cursor={'a' * (CURSOR_CHARS_MAX + 1)}"))
    assert code_of(refused) is Refusal.MALFORMED


def test_a_list_has_items_and_the_next_cursor():
    """In the form of the contract."""
    assert listing((1, 2), "c") == {"items": [1, 2], "nextCursor": "c"}
    assert listing([], None) == {"items": [], "nextCursor": None}


def test_a_number_lies_within_its_bounds():
    """Both bounds are included, and a default counts as given."""
    assert number_of(query("lat=-90"), "lat", -90, 90) == -90
    assert number_of(query("lat=9e1"), "lat", -90, 90) == 90
    assert number_of(query(""), "km", 0, 10, "5") == 5


@pytest.mark.parametrize("value", ["", "90.1", "nan", "inf", "north"])
def test_any_other_number_is_malformed(value: str):
    """Missing, out of bounds, not a number, infinite, or a text."""
    with pytest.raises(Refused) as refused:
        number_of(query(f"lat={value}"), "lat", -90, 90)
    assert code_of(refused) is Refusal.MALFORMED


def test_a_timestamp_is_in_unix_milliseconds():
    """Up to 13 digits; a default counts as given."""
    assert timestamp_of(query("at=1763000000000"), "at") == 1_763_000_000_000
    assert timestamp_of(query(""), "at", 7) == 7


@pytest.mark.parametrize("value", ["", "-1", "1.5", "x", "12345678901234", "%D9%A3"])
def test_any_other_timestamp_is_malformed(value: str):
    """Missing, negative, fractional, a text, too long, or in other digits."""
    with pytest.raises(Refused) as refused:
        timestamp_of(query(f"at={value}"), "at")
    assert code_of(refused) is Refusal.MALFORMED


def test_a_choice_is_one_of_the_listed_values():
    """Any other value is malformed, and the message lists the choices."""
    assert choice_of(query("status=B"), "status", ("A", "B"), "A") == "B"
    assert choice_of(query(""), "status", ("A", "B"), "A") == "A"
    with pytest.raises(Refused, match="status: one of A, B") as refused:
        choice_of(query("status=b"), "status", ("A", "B"), "A")
    assert code_of(refused) is Refusal.MALFORMED


def test_ids_are_read_from_the_path():
    """Under the names that the routes give them."""
    assert id_of(path(itemId="ndole"), "itemId") == "ndole"
    assert order_id_of(path(orderId="ord_1")) == "ord_1"
    assert rider_id_of(path(riderId="rdr_1")) == "rdr_1"


@pytest.mark.parametrize("text", ["ord#1", "", "a" * 65, "ord_1\n"])
def test_what_cannot_be_an_id_is_not_found(text: str):
    """A forged key is answered like an unknown id."""
    with pytest.raises(Refused) as refused:
        order_id_of(path(orderId=text))
    assert code_of(refused) is Refusal.NOT_FOUND
