"""The storm, small: see tests.ledger.scenarios.storm for its full size."""

from tests.ledger.scenarios import storm


def test_every_order_is_settled_once_in_a_storm() -> None:
    """24 callers settle 30 orders while replies are lost: 30 entries, 720 like answers."""
    size = storm.Size(callers=24, orders=30, conflicts=0.2, lost=0.05)
    came = storm.storm(7, size)
    assert came.flaws == []
    assert (came.entries, came.agreed, came.unavailable) == (30, 720, 0)
    assert min(came.faults.values()) > 5


def test_a_storm_comes_again_from_its_seed() -> None:
    """One seed makes one storm, to the last attempt; another makes another."""
    size = storm.Size(callers=8, orders=8, conflicts=0.2, lost=0.05)
    assert storm.storm(1, size) == storm.storm(1, size)
    assert storm.storm(1, size) != storm.storm(2, size)
