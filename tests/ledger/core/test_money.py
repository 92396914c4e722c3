"""Amounts, rates and prices: nothing is lost in a division."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.money import AMOUNT_MAX, checked_amount, split
from ledger.core.pricing import DEFAULT_RATES, price_goods, price_package

amounts = st.integers(0, AMOUNT_MAX)


@pytest.mark.parametrize("amount", [0, -1, AMOUNT_MAX + 1, 1.0, True, "5", None])
def test_what_is_not_an_amount_is_refused(amount: object) -> None:
    """Only whole francs from 1 to 10^12 move."""
    with pytest.raises(ValueError, match="amount"):
        checked_amount(amount)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("amount", [1, AMOUNT_MAX])
def test_the_smallest_and_the_largest_amount_move(amount: int) -> None:
    """Both ends are inside."""
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
    """The platform gets the floor, the other side the remainder."""
    assert split(base, bps) == (part, base - part)


@given(amounts, st.integers(0, 10_000))
def test_a_split_loses_nothing(base: int, bps: int) -> None:
    """Both parts are never negative and always make the whole."""
    part, rest = split(base, bps)
    assert part + rest == base
    assert part >= 0
    assert rest >= 0


@given(st.integers(0, 10**9), st.sampled_from(["FOOD", "MART"]))
def test_the_price_of_goods_is_split_completely(subtotal: int, service: str) -> None:
    """Commission and shares make the total; the platform's is the floor."""
    price = price_goods(DEFAULT_RATES[service], subtotal)  # pyright: ignore[reportArgumentType]
    assert price.commission + price.vendor_share + price.rider_share == price.total
    assert price.commission == subtotal * price.commission_bps // 10_000


@pytest.mark.parametrize(
    ("metres", "fragile", "fee"),
    [
        (0, False, 2000),
        (1000, False, 2500),
        (999, False, 2500),
        (1, False, 2001),
        (0, True, 3000),
        (7321, True, 6661),
    ],
)
def test_a_parcel_is_priced_by_distance(metres: int, fragile: bool, fee: int) -> None:
    """Base, half a franc a metre rounded half up, and more for what breaks; a fifth is ours."""
    price = price_package(DEFAULT_RATES["PACKAGE"], metres, fragile=fragile)
    assert price.total == fee
    assert price.commission == fee * 2000 // 10_000
    assert price.rider_share == fee - price.commission
