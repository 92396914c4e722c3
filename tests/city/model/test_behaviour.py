"""Chances of the simulated people's rare actions."""

from dataclasses import asdict

from city.model.behaviour import Behaviour


def test_the_default_chances_are_chances():
    """Every chance is between 0 and 1, and nothing is certain."""
    chances = {name: value for name, value in asdict(Behaviour()).items() if "chance" in name}
    assert len(chances) == 7
    assert all(0 < value < 1 for value in chances.values())
