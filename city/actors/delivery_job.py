"""A rider's delivery job: pickup, drop-off, cash to collect."""

from dataclasses import dataclass
from typing import Any

from city.model.streets import Point, to_metres

DONE_STATES = frozenset({"DELIVERED", "FUNDS_DISTRIBUTED", "CANCELLED", "REJECTED"})
STATES_BEFORE_PICKUP = frozenset({"ASSIGNED", "AT_PICKUP"})


@dataclass(slots=True)
class DeliveryJob:
    """What a rider needs to deliver an order. Units: metres from the origin, whole XAF.

    `state` is the order's dispatch state when the rider began or resumed the job.
    """

    order_id: str
    is_parcel: bool
    pickup: Point
    dropoff: Point
    cash_xaf: int | None
    state: str = "ASSIGNED"


def job_from_offer(offer: dict[str, Any]) -> DeliveryJob:
    """The job of an accepted `delivery_request`."""
    cash = offer.get("cashToCollect")
    return DeliveryJob(
        order_id=str(offer["orderId"]),
        is_parcel=offer.get("orderType") == "PACKAGE",
        pickup=_point(offer["pickupLocation"]),
        dropoff=_point(offer["dropoffLocation"]),
        cash_xaf=None if cash is None else int(cash),
    )


def job_from_order(order: dict[str, Any]) -> DeliveryJob:
    """The job of an open order, to be resumed."""
    is_cash = order["payment"]["method"] == "CASH"
    return DeliveryJob(
        order_id=str(order["orderId"]),
        is_parcel=order["orderType"] == "PACKAGE",
        pickup=_point(order["locations"]["pickup"]),
        dropoff=_point(order["locations"]["dropoff"]),
        cash_xaf=int(order["pricing"]["total"]) if is_cash else None,
        state=str(order["dispatch"]["state"]),
    )


def is_open_for(order: dict[str, Any], rider_id: str) -> bool:
    """Whether an order is still to be delivered by this rider."""
    dispatch = order.get("dispatch") or {}
    return dispatch.get("riderId") == rider_id and order["status"] not in DONE_STATES


def _point(location: dict[str, float]) -> Point:
    return to_metres(location["lat"], location["lng"])
