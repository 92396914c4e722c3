"""A rider's jobs from offers and from open orders."""

import pytest

from city.actors.delivery_job import is_open_for, job_from_offer, job_from_order
from city.model.streets import to_metres

SHOP, DOOR = {"lat": 4.05, "lng": 9.71}, {"lat": 4.06, "lng": 9.72}


@pytest.mark.parametrize(("cash", "cash_xaf"), [({}, None), ({"cashToCollect": 4_500}, 4_500)])
def test_an_offer_becomes_a_job(cash: dict[str, int], cash_xaf: int | None):
    """A job has the offer's places, and the cash to collect where the offer has it."""
    offer = {
        "orderId": "ord_1", "orderType": "FOOD", "pickupLocation": SHOP, "dropoffLocation": DOOR,
        **cash,
    }  # fmt: skip
    job = job_from_offer(offer)
    assert (job.order_id, job.is_parcel, job.state) == ("ord_1", False, "ASSIGNED")
    assert (job.pickup, job.dropoff) == (to_metres(4.05, 9.71), to_metres(4.06, 9.72))
    assert job.cash_xaf == cash_xaf


@pytest.mark.parametrize(("method", "cash_xaf"), [("CASH", 6_000), ("WALLET", None)])
def test_an_open_order_becomes_a_job(method: str, cash_xaf: int | None):
    """A resumed job has the order's dispatch state; cash only for an order paid in cash."""
    order = {
        "orderId": "ord_1", "orderType": "PACKAGE", "payment": {"method": method},
        "locations": {"pickup": SHOP, "dropoff": DOOR}, "pricing": {"total": 6_000},
        "dispatch": {"state": "PICKED_UP", "riderId": "rdr_1"},
    }  # fmt: skip
    job = job_from_order(order)
    assert (job.is_parcel, job.state, job.cash_xaf) == (True, "PICKED_UP", cash_xaf)


@pytest.mark.parametrize(
    ("status", "rider", "is_open"),
    [
        ("IN_TRANSIT", "rdr_1", True),
        ("IN_TRANSIT", "rdr_2", False),
        ("DELIVERED", "rdr_1", False),
        ("CANCELLED", "rdr_1", False),
    ],
)
def test_an_order_is_open_for_its_rider_until_it_ends(status: str, rider: str, is_open: bool):
    """An order is open for its own rider only, and not once it is delivered or cancelled."""
    assert is_open_for({"status": status, "dispatch": {"riderId": rider}}, "rdr_1") is is_open


def test_an_order_without_a_rider_is_not_open_for_anyone():
    """An order without dispatch facts is not open for a rider."""
    assert is_open_for({"status": "PENDING", "dispatch": None}, "rdr_1") is False
