"""The audit of a run: every rule of the library, and the score."""

import pytest

from bench.mdrp.instances import ExecutedTrip, Instance
from bench.mdrp.run_audit import RuleViolation, reconstruct_day, score_run
from tests.bench.mdrp.tiny import GOOD


def test_times_are_computed_from_the_instructions(tiny_instance: Instance):
    """Pickup at 15, away at 17, 15 minutes to go, two at the door: 34, free again at 36."""
    second = ExecutedTrip(courier=0, sent_at=36, fixed_at=36, picked_at=53, orders=(2,))
    day = reconstruct_day(tiny_instance, [GOOD, second])
    assert (day.picked_at, day.dropped_at) == ({0: 15, 2: 53}, {0: 34, 2: 72})
    figures = score_run(tiny_instance, [GOOD, second])
    # o5 is too far for any courier. The others: 0, 120 - 23, 68 - 31, 120 - 24 over their fastest.
    assert (figures.orders, figures.set_aside) == (4, 1)
    assert pytest.approx((0 + 97 + 37 + 96) / 4) == figures.E
    assert figures.undelivered == 50
    assert figures.late == 75
    # Two hours of c1 are 30 and its two orders 20; 85 minutes of c2 are 21.25.
    assert figures.cost_per_order == pytest.approx((30 + 21.25) / 2)


@pytest.mark.parametrize(
    ("trips", "why"),
    [
        ([GOOD, ExecutedTrip(1, 60, 60, 92, (0,))], "delivered twice"),
        ([GOOD._replace(orders=(0, 0))], "delivered twice"),
        ([GOOD._replace(orders=(0, 2))], "before it is placed"),
        ([ExecutedTrip(1, 4, 4, 13, (1,))], "before it is free"),
        ([GOOD, ExecutedTrip(0, 35, 35, 52, (2,))], "before it is free"),
        ([GOOD._replace(fixed_at=16, orders=(0, 2))], "after the pickup"),
        ([GOOD._replace(fixed_at=2)], "before it leaves"),
        ([ExecutedTrip(1, 85, 85, 92, (3,))], "after its shift"),
        ([GOOD._replace(sent_at=0, fixed_at=0, picked_at=14)], "before the food is ready"),
        ([GOOD._replace(sent_at=5, fixed_at=5, picked_at=16)], "before it arrives"),
        ([GOOD._replace(picked_at=16)], "later than possible"),
        ([GOOD._replace(fixed_at=4, orders=(0, 1))], "several restaurants"),
        ([GOOD._replace(orders=())], "without an order"),
    ],
)
def test_a_run_that_breaks_a_rule_is_void(
    tiny_instance: Instance, trips: list[ExecutedTrip], why: str
):
    """Each rule has a run that breaks it, which raises RuleViolation with the rule."""
    with pytest.raises(RuleViolation, match=why):
        score_run(tiny_instance, trips)


def test_a_time_below_the_fastest_delivery_voids_the_run(
    tiny_instance: Instance, monkeypatch: pytest.MonkeyPatch
):
    """If the audit ever computed an arrival below the fastest delivery, the run would be void."""
    monkeypatch.setattr("bench.mdrp.run_audit.fastest_delivery_minutes", lambda instance, order: 35)
    with pytest.raises(RuleViolation, match="faster than any courier"):
        score_run(tiny_instance, [GOOD])
