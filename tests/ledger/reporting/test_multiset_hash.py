"""The multiset hash of expected and found elements."""

from hypothesis import given
from hypothesis import strategies as st

from ledger.reporting.multiset_hash import MultisetHash

ELEMENTS = st.lists(st.tuples(st.sampled_from("ab"), st.text(), st.integers()), max_size=8)


@given(ELEMENTS, st.randoms())
def test_equal_multisets_match_in_any_order(elements, rng) -> None:
    """Elements that are found in another order than expected leave no account mismatched."""
    found = list(elements)
    rng.shuffle(found)
    sums = MultisetHash()
    for account, *fields in elements:
        sums.add_expected(account, *fields)
    for account, *fields in found:
        sums.add_found(account, *fields)
    assert sums.mismatched_accounts() == []


@given(ELEMENTS, st.text(), st.integers())
def test_one_more_element_mismatches_its_account(elements, text: str, number: int) -> None:
    """An element that is expected once more than found mismatches its account alone."""
    sums = MultisetHash()
    for account, *fields in elements:
        sums.add_expected(account, *fields)
        sums.add_found(account, *fields)
    sums.add_expected("c", text, number)
    assert sums.mismatched_accounts() == ["c"]


def test_elements_of_another_account_do_not_count() -> None:
    """The same element expected of one account and found in another mismatches both."""
    sums = MultisetHash()
    sums.add_expected("a", 1)
    sums.add_found("b", 1)
    assert sums.mismatched_accounts() == ["a", "b"]
