"""Order prices and their split."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.pricing import (
    DEFAULT_RATES,
    PAYABLE_MIN,
    price_goods,
    price_package,
    with_discount,
    with_tip,
)


@given(st.integers(0, 10**9), st.sampled_from(["FOOD", "MART"]))
def test_the_price_of_goods_is_split_completely(subtotal: int, service: str) -> None:
    """Commission and shares sum to the total; the commission is rounded down."""
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
def test_a_package_is_priced_by_distance(metres: int, fragile: bool, fee: int) -> None:
    """Base fee, distance rounded half up, and a surcharge if fragile; the commission is a fifth."""
    price = price_package(DEFAULT_RATES["PACKAGE"], metres, fragile=fragile)
    assert price.total == fee
    assert price.commission == fee * 2000 // 10_000
    assert price.rider_share == fee - price.commission


def test_a_tip_is_the_riders() -> None:
    """A tip raises the total and the rider's part by the same amount."""
    plain = price_goods(DEFAULT_RATES["FOOD"], 5_000)
    tipped = with_tip(plain, 700)
    assert (tipped.total, tipped.rider_total) == (plain.total + 700, plain.rider_share + 700)
    assert tipped.commission == plain.commission


def test_a_discount_is_the_platforms() -> None:
    """A discount lowers what the customer pays, and no share."""
    plain = price_goods(DEFAULT_RATES["FOOD"], 5_000)
    cheaper = with_discount(plain, 700)
    assert (cheaper.total, cheaper.gross) == (plain.total - 700, plain.total)
    assert (cheaper.vendor_share, cheaper.rider_share) == (plain.vendor_share, plain.rider_share)


def test_a_discount_leaves_the_tip_and_the_smallest_payment() -> None:
    """However large, a discount leaves the tip and one franc to pay."""
    tipped = with_tip(price_goods(DEFAULT_RATES["FOOD"], 5_000), 700)
    assert with_discount(tipped, 10**9).total == 700 + PAYABLE_MIN
