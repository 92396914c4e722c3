"""Riders, orders and inputs of batch decisions; a minute of riding is a known angle."""

from typing import Any

from msgspec.structs import replace

from dispatch.ids import OrderId, RiderId
from dispatch.model import DispatchState, OfferPolicy, Order, OrderStatus, Place
from dispatch.orders.batch.batch_input import BatchInput
from dispatch.tracking.stores.rider_facts import IndexedRider
from matching.eta import DETOUR_DEFAULT
from tests.factories import an_order

NOW_MS = 10_000_000
# A minute's ride of a motorbike along the straight line. Units: degrees of latitude.
MINUTE_LAT_DEG = 7.3 * 60 / DETOUR_DEFAULT / 111_195.1
PICKUP = Place(lat=4.05, lng=9.70)
DROPOFF = Place(lat=4.05 + 10 * MINUTE_LAT_DEG, lng=9.70)


def a_rider(rider_id: str, minutes: float = 0.0, **facts: Any) -> IndexedRider:
    """A free rider so many minutes north of the pickup."""
    usual = {
        "lat": PICKUP.lat + minutes * MINUTE_LAT_DEG,
        "lng": PICKUP.lng,
        "ts": NOW_MS,
        "seen_at_ms": NOW_MS,
        "heading": None,
        "speed": None,
        "accuracy": 5.0,
        "available": True,
        "active": 0,
        "capacity": 1,
        "completion": None,
        "rating": None,
        "recent_offers": 0,
        "cash_headroom_xaf": 50_000,
        "vehicle": "MOTORBIKE",
        "name": "",
    }
    return IndexedRider(rider_id=RiderId(rider_id), **{**usual, **facts})


def a_ready_order(
    order_id: str, state: DispatchState = DispatchState.SEARCHING, **fields: Any
) -> Order:
    """An order whose goods are ready at the pickup, ten minutes from its dropoff."""
    is_carried = state in (DispatchState.PICKED_UP, DispatchState.AT_DROPOFF)
    status = OrderStatus.IN_TRANSIT if is_carried else OrderStatus.READY
    dispatch = {key: fields.pop(key) for key in ("rider", "offers", "asked") if key in fields}
    usual = {
        "order_id": OrderId(order_id),
        "pickup": PICKUP,
        "dropoff": DROPOFF,
        "created_at": NOW_MS - 600_000,
        "times": {"ACCEPTED": NOW_MS - 600_000, "READY": NOW_MS},
    }
    return replace(an_order(status, state, **dispatch), **{**usual, **fields})


def a_batch_input(orders: list[Order], riders: list[IndexedRider], **fields: Any) -> BatchInput:
    """An input where FOOD and PACKAGE are decided in batches, in real time."""
    usual = BatchInput(
        now_ms=NOW_MS,
        orders=orders,
        riders=riders,
        policies=dict.fromkeys(("FOOD", "MART", "PACKAGE"), OfferPolicy(mode="batch")),
        batched_services=frozenset({"FOOD", "PACKAGE"}),
        paused={},
        offer_holds={},
        answers={},
        prep_times={},
        speeds_mps={"MOTORBIKE": 7.3, "FOOT": 1.3, None: 7.3},
        demand={},
        fresh_ms=15_000,
        time_scale=1.0,
    )
    return usual._replace(**fields)
