"""Input of a batch decision: open orders, riders, policies and learned statistics: pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from dispatch.ids import OrderId, RiderId
from dispatch.model import OfferPolicy, Order
from dispatch.orders.batch.prep_time import ready_at_ms
from dispatch.orders.transitions import waves
from dispatch.orders.units import MINUTE_MS
from dispatch.tracking.stores.rider_facts import IndexedRider
from ledger.core.pricing import Service
from matching.eta import DETOUR_DEFAULT
from matching.prep_times import FadedSum

# Units: degrees WGS 84.
LatLngPair = tuple[float, float]


class BatchInput(NamedTuple):
    """All that a batch decision depends on, at one moment.

    `batched_services` are those decided here; `offer_holds` is the order for which a rider is held,
    `paused` the ends of offer pauses, `demand` how many recent orders came from a place. In a
    replay that runs `time_scale` times faster than real time, so do the minutes.

    Units: Unix milliseconds; `fresh_ms` is how old a rider's position may be; speeds in metres per
    second along the street, by vehicle, None for the usual one.
    """

    now_ms: int
    orders: Collection[Order]
    riders: Sequence[IndexedRider]
    policies: Mapping[Service, OfferPolicy]
    batched_services: Collection[Service]
    paused: Mapping[RiderId, int]
    offer_holds: Mapping[RiderId, OrderId]
    answers: Mapping[str, FadedSum]
    prep_times: Mapping[str, Mapping[str, FadedSum]]
    speeds_mps: Mapping[str | None, float]
    demand: Mapping[LatLngPair, float]
    fresh_ms: int
    time_scale: float

    def minutes_from_now(self, at_ms: float) -> float:
        """A time as matching counts it. Units: Unix milliseconds in, minutes from now out."""
        return (at_ms - self.now_ms) * self.time_scale / MINUTE_MS

    def ready_minutes(self, order: Order) -> float:
        """When an order's goods are ready. Units: minutes from now."""
        learned = self.prep_times.get(order.vendor_id or "", {})
        return self.minutes_from_now(ready_at_ms(order, learned, self.now_ms, self.time_scale))

    def speed_m_per_minute(self, rider: IndexedRider) -> float:
        """A rider's speed along the straight line. Units: metres per minute."""
        street_mps = self.speeds_mps.get(rider.vehicle, self.speeds_mps[None])
        return street_mps / DETOUR_DEFAULT * MINUTE_MS / 1000 / self.time_scale


def pickup_place_of(order: Order) -> LatLngPair:
    """The pickup, rounded so that orders of one shop share it. Units: degrees, to 0.1 m."""
    return (round(order.pickup.lat, 6), round(order.pickup.lng, 6))


def is_undecided(order: Order, batched_services: Collection[Service]) -> bool:
    """Whether a batch decides the order: it searches, without an open offer or a wanted rider."""
    dispatch = order.dispatch
    if (
        dispatch is None
        or not waves.is_searching(order)
        or order.order_type not in batched_services
    ):
        return False
    return not dispatch.offers and not waves.has_unasked_wanted_rider(dispatch)
