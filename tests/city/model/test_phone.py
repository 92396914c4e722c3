"""Phones of the simulated riders: what each kind makes of a fix."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from city.model.behaviour import Behaviour
from city.model.phone import CLOCK_JUMPS_MS, COARSE_M, Kind, Phone, random_phone

FIX = {"lat": 4.05, "lng": 9.7, "accuracy": 6.0, "speed": 8.0, "ts": 1_000_000_000_000, "seq": 1}


@pytest.mark.parametrize(("kind", "accuracy"), [("plain", 6.0), ("coarse", COARSE_M)])
def test_only_a_coarse_phone_is_coarse(kind: Kind, accuracy: float):
    """The rest of the fix is as measured."""
    assert Phone(Random(1), kind).report(FIX) == {**FIX, "accuracy": accuracy}


def test_a_clock_jumps_now_and_then():
    """By one of a few offsets, which it keeps for a while."""
    phone = Phone(Random(1), "clock")
    offsets = [int(phone.report(FIX)["ts"]) - int(FIX["ts"]) for _ in range(400)]
    changes = sum(before != after for before, after in pairwise(offsets))

    assert set(offsets) == set(CLOCK_JUMPS_MS)
    assert 3 <= changes <= 40


def test_a_standing_phone_repeats_its_last_fix():
    """With the same time and number; a driving one does not."""
    phone = Phone(Random(1), "repeats")
    standing = [{**FIX, "speed": 0.1, "ts": ts} for ts in (1, 2, 3)]
    first, *repeated = [phone.report(each) for each in standing]
    driving = phone.report({**FIX, "ts": 4})

    assert [each["ts"] for each in (first, *repeated, driving)] == [1, 1, 1, 4]


def test_shares_of_phones_follow_the_behaviour():
    """A tenth of them are odd."""
    kinds = Counter(random_phone(Random(seed), Behaviour()).kind for seed in range(4_000))

    assert 150 < kinds["coarse"] < 250
    assert 80 < kinds["clock"] < 160
    assert 50 < kinds["repeats"] < 110
