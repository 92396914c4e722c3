"""Amounts: bounded, and divided without a loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.money import AMOUNT_MAX, checked_amount, split

amounts = st.integers(0, AMOUNT_MAX)


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1, 1.0, True, "5", None])
def test_what_is_not_an_amount_is_refused(amount: object) -> None:
    """Only integers from 1 to 10^12 are amounts."""
    with pytest.raises(ValueError, match="amount"):
        checked_amount(amount)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("amount", [1, AMOUNT_MAX])
def test_the_smallest_and_the_largest_amount_are_accepted(amount: int) -> None:
    """Both bounds are amounts."""
    assert checked_amount(amount) == amount


@pytest.mark.parametrize(
    ("base", "bps", "part"),
    [
        (10_000, 1500, 1500),
        (11_999, 1500, 1799),
        (9_999, 1000, 999),
        (6, 1500, 0),
        (7, 1500, 1),
        (1, 10_000, 1),
        (12_345, 0, 0),
        (0, 1500, 0),
    ],
)
def test_split_rounds_the_rated_part_down(base: int, bps: int, part: int) -> None:
    """The rated part is rounded down; the rest is the remainder."""
    assert split(base, bps) == (part, base - part)


@given(amounts, st.integers(0, 10_000))
def test_a_split_loses_nothing(base: int, bps: int) -> None:
    """Both parts are never negative and sum to the whole."""
    part, rest = split(base, bps)
    assert part + rest == base
    assert part >= 0
    assert rest >= 0
