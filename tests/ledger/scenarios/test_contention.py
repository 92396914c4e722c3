"""Contention, in short; see tests.ledger.scenarios.contention for the full size."""

from tests.ledger.scenarios import contention


def test_every_order_is_settled_once_under_contention() -> None:
    """24 callers settle 30 orders while replies are lost: 30 entries, 720 equal answers."""
    size = contention.ContentionSize(callers=24, orders=30, conflicts=0.2, lost=0.05)
    result = contention.run_contention(7, size)
    assert result.breaks == []
    assert (result.entries, result.equal_answers, result.unavailable) == (30, 720, 0)
    assert min(result.faults.values()) > 5


def test_contention_is_reproducible_from_its_seed() -> None:
    """One seed gives one run, to the last attempt; another seed gives another."""
    size = contention.ContentionSize(callers=8, orders=8, conflicts=0.2, lost=0.05)
    assert contention.run_contention(1, size) == contention.run_contention(1, size)
    assert contention.run_contention(1, size) != contention.run_contention(2, size)
