"""Riders of a batch decision: who takes part, and where and when each will be free: pure."""

from collections.abc import Sequence
from typing import NamedTuple

from dispatch.ids import RiderId
from dispatch.model import DispatchState, Order
from dispatch.orders.batch.batch_input import BatchInput
from dispatch.orders.batch.plane import PlanePoint, PlaneProjection, plane_distance_m
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import dispatch_of
from dispatch.tracking.stores.rider_facts import IndexedRider
from matching.problem import Rules

# A rider who has goods, or an offer, is not free before this. Units: minutes.
# Source: chosen.
SOONEST_FREE_MINUTES = 1.0


class PlannedStop(NamedTuple):
    """A stop that a rider is committed to: an order's pickup or its dropoff."""

    order: Order
    is_pickup: bool


class RiderRow(NamedTuple):
    """A rider who takes part: where and when it is free, and the stops before, if they can change.

    Units: metres on the plane; minutes from now, also for the arrival at the first stop.
    """

    rider: IndexedRider
    free_point: PlanePoint
    free_at: float
    stops: Sequence[PlannedStop] = ()
    arrives_at: float = 0.0


class ExcludedRider(NamedTuple):
    """A rider who takes no part, and why."""

    rider: IndexedRider
    reason: str


class RiderRows:
    """Sorts orders by their riders, and computes the rows."""

    def __init__(self, batch_input: BatchInput, plane: PlaneProjection, rules: Rules) -> None:
        self._input = batch_input
        self._plane = plane
        self._rules = rules
        self._after_pickup: dict[RiderId, list[Order]] = {}
        self._before_pickup: dict[RiderId, list[Order]] = {}
        self._offered: dict[RiderId, list[Order]] = {}
        for order in batch_input.orders:
            self._group_by_rider(order)

    def _group_by_rider(self, order: Order) -> None:
        if waves.is_after_pickup(order) and order.rider_id:
            self._after_pickup.setdefault(order.rider_id, []).append(order)
        elif waves.is_before_pickup(order) and order.rider_id:
            self._before_pickup.setdefault(order.rider_id, []).append(order)
        elif (
            order.order_type in self._input.batched_services and len(dispatch_of(order).offers) == 1
        ):
            [rider_id] = dispatch_of(order).offers
            self._offered.setdefault(rider_id, []).append(order)

    def build(self) -> tuple[list[RiderRow], list[ExcludedRider]]:
        """The riders who take part, and the others with their reasons."""
        rows: list[RiderRow] = []
        excluded: list[ExcludedRider] = []
        for rider in self._input.riders:
            reason = self._exclusion(rider)
            if reason is None:
                rows.append(self._row(rider))
            else:
                excluded.append(ExcludedRider(rider, reason))
        return rows, excluded

    def _exclusion(self, rider: IndexedRider) -> str | None:
        """Why a rider takes no part; None where it does."""
        rider_id = RiderId(rider.rider_id)
        age_ms = self._input.now_ms - rider.seen_at_ms
        known = len(self._after_pickup.get(rider_id, ())) + len(
            self._before_pickup.get(rider_id, ())
        )
        held_for = self._input.offer_holds.get(rider_id)
        if not rider.available:
            return "off duty"
        if age_ms > self._input.fresh_ms:
            return f"last fix {age_ms // 1000} s old"
        if rider_id in self._input.paused:
            return "paused: left offers unread"
        if rider.active > known or held_for == waves.BUSY:
            return "carries another order"
        if held_for is None or any(held_for == o.order_id for o in self._offered.get(rider_id, ())):
            return None
        return "holds another offer"

    def _row(self, rider: IndexedRider) -> RiderRow:
        """Where and when a rider is free if nothing changes."""
        rider_id = RiderId(rider.rider_id)
        point = self._plane.point(rider.lat, rider.lng)
        carried = self._after_pickup.get(rider_id, [])
        ahead = [*self._before_pickup.get(rider_id, ()), *self._offered.get(rider_id, ())]
        ahead.sort(
            key=lambda order: (
                plane_distance_m(point, self._plane.point_of(order.pickup)),
                order.order_id,
            )
        )
        stops = [
            *(PlannedStop(order, is_pickup=True) for order in ahead),
            *(PlannedStop(order, is_pickup=False) for order in ahead),
        ]
        if carried:
            # The rider must deliver what it carries before it goes anywhere else.
            first = [PlannedStop(order, is_pickup=False) for order in carried]
            end, minutes = self._finish_stops(rider, point, [*first, *stops])
            return RiderRow(rider, end, max(SOONEST_FREE_MINUTES, minutes))
        if not ahead:
            return RiderRow(rider, point, 0.0)
        end, minutes = self._finish_stops(rider, point, stops)
        is_at_pickup = dispatch_of(ahead[0]).state is DispatchState.AT_PICKUP
        first_pickup = self._plane.point_of(ahead[0].pickup)
        arrives_at = 0.0 if is_at_pickup else self._travel_minutes(rider, point, first_pickup)
        return RiderRow(rider, end, max(SOONEST_FREE_MINUTES, minutes), stops, arrives_at)

    def _finish_stops(
        self, rider: IndexedRider, start: PlanePoint, stops: Sequence[PlannedStop]
    ) -> tuple[PlanePoint, float]:
        """Where and when a rider is done with stops. Units: metres; minutes from now."""
        now, rules = 0.0, self._rules
        for order, is_pickup in stops:
            point = self._plane.point_of(order.pickup if is_pickup else order.dropoff)
            if point != start:
                now += self._travel_minutes(rider, start, point) + rules.before_handover
            if is_pickup:
                now = max(now, self._input.ready_minutes(order))
            start, now = point, now + rules.after_handover
        return start, now

    def _travel_minutes(self, rider: IndexedRider, start: PlanePoint, end: PlanePoint) -> float:
        return plane_distance_m(start, end) / self._input.speed_m_per_minute(rider)
