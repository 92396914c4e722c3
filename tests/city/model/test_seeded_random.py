"""Seeded randomness by purpose."""

from city.model.seeded_random import seeded_random


def test_the_same_purpose_gives_the_same_sequence():
    """Generators of one purpose are equal and independent; another purpose gives another one."""
    first, again = seeded_random(1, "rider"), seeded_random(1, "rider")
    other = seeded_random(1, "vendor")
    sequence = [first.random() for _ in range(5)]
    assert [again.random() for _ in range(5)] == sequence
    assert [other.random() for _ in range(5)] != sequence
