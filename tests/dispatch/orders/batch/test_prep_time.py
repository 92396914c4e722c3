"""Preparation time: the vendor's own minutes, else learned ones, else the overall mean."""

import pytest

from dispatch.model import Order
from dispatch.orders.batch.prep_time import prep_time_of, ready_at_ms
from matching.prep_times import FadedSum, estimate_prep_minutes
from tests.dispatch.orders.batch.batch_scenario import NOW_MS, a_ready_order
from tests.factories import a_parcel_order

ACCEPTED = {"ACCEPTED": NOW_MS - 60_000}
# Twenty orders took half an hour each, whatever the hour.
LEARNED = {"day": FadedSum(600.0, 20.0)}


def accepted_order(prep_minutes: int | None = None) -> Order:
    return a_ready_order("o", times=ACCEPTED, prep_minutes=prep_minutes)


def test_the_vendors_own_minutes_come_first():
    """They hold even where other times were learned."""
    found = prep_time_of(accepted_order(12), LEARNED)

    assert found is not None
    assert (found.minutes, found.source) == (12.0, "vendor")


def test_learned_minutes_come_before_the_mean():
    """The record says how many orders they stand for."""
    learned, mean = prep_time_of(accepted_order(), LEARNED), prep_time_of(accepted_order(), {})

    assert learned is not None
    assert mean is not None
    assert (learned.source, learned.orders) == ("learned", 20.0)
    assert 25 < learned.minutes <= 30
    assert (mean.source, mean.orders) == ("house", 0.0)
    assert mean.minutes == round(estimate_prep_minutes(FadedSum(), FadedSum()), 1)


def test_parcels_and_orders_not_accepted_have_no_preparation():
    """A parcel is ready when it is placed."""
    parcel = a_parcel_order()

    assert prep_time_of(parcel, LEARNED) is None
    assert prep_time_of(a_ready_order("o", times={}), LEARNED) is None
    assert ready_at_ms(parcel, {}, NOW_MS, 1.0) == parcel.created_at


@pytest.mark.parametrize(("time_scale", "minute_ms"), [(1.0, 60_000), (60.0, 1_000)])
def test_expected_readiness_follows_the_time_scale(time_scale: float, minute_ms: int):
    """Ten minutes from acceptance, in minutes of the replayed day."""
    expected = ready_at_ms(accepted_order(10), {}, ACCEPTED["ACCEPTED"], time_scale)

    assert expected == ACCEPTED["ACCEPTED"] + 10 * minute_ms


def test_overdue_goods_are_expected_in_a_minute():
    """Whatever the vendor promised, what is not reported ready is not ready."""
    assert ready_at_ms(accepted_order(0), {}, NOW_MS, 1.0) == NOW_MS + 60_000


def test_reported_readiness_is_exact():
    """The time of `order_ready` holds, also in the past."""
    ready = a_ready_order("o", times={**ACCEPTED, "READY": NOW_MS - 5_000})

    assert ready_at_ms(ready, LEARNED, NOW_MS, 1.0) == NOW_MS - 5_000
