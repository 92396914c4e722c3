"""Names and prices of the simulated city."""

import re

import pytest

from city.model import menu
from city.model.seeded_random import seeded_random


@pytest.mark.parametrize("goods", [menu.DISHES, menu.GROCERIES])
def test_every_item_has_a_name_and_a_price(goods: dict[str, tuple[str, int]]):
    """Every item has a name, and a price in whole XAF that is a multiple of 100."""
    assert len(goods) == 8
    assert all(name and price > 0 and price % 100 == 0 for name, price in goods.values())


def test_phone_numbers_follow_the_numbering_plan():
    """Random phone numbers are +237 6 and eight digits."""
    rng = seeded_random("phones")
    numbers = [menu.random_phone_number(rng) for _ in range(100)]
    assert all(re.fullmatch(r"\+2376\d{8}", number) for number in numbers)


def test_names_are_drawn_from_the_lists():
    """Shops are named by prefix, name and district; people by given and family name."""
    rng = seeded_random("names")
    given, family = menu.random_person_name(rng).split(" ", 1)
    assert given in menu.GIVEN_NAMES
    assert family in menu.FAMILY_NAMES
    assert menu.random_kitchen_name(rng, "Akwa").endswith("(Akwa)")
    assert menu.random_market_name(rng, "Akwa").startswith(menu.MARKET_PREFIXES)
