"""Categories of wallet lines."""

from ledger.core import line_categories


def test_categories_are_distinct_and_earnings_are_among_them() -> None:
    """No two categories share a text, and each earning category is one of them."""
    names = {name for name in vars(line_categories) if name.isupper()} - {"EARNING_CATEGORIES"}
    texts = [getattr(line_categories, name) for name in names]
    assert len(set(texts)) == len(texts)
    assert set(texts) >= line_categories.EARNING_CATEGORIES
