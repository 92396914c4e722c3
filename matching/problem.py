"""What a decision is made of: riders, orders and places as columns in, who carries what out."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Every vehicle there is, as bits; an order says which of them may carry it.
ANY_VEHICLE = 0xFF
# Riders and orders of no zone in particular go with everybody.
NO_ZONE = -1


class Rules(NamedTuple):
    """How long things take, and what counts. Units: minutes.

    At every stop there is a time before the goods change hands and one after it. `whole` rounds
    travel up to whole minutes. Later than `late_cap` after it was placed, an order is lost anyway.
    `tick` is how long it takes until the next decision, `move` what must be gained by taking from a
    rider an order that he has said yes to.
    """

    before_handover: float = 2.0
    after_handover: float = 2.0
    rounds_up_minutes: bool = False
    lost_after: float = 120.0
    tick: float = 1.0
    reassignment_threshold: float = 0.0


class Riders(NamedTuple):
    """Riders as columns: where and when each will be free.

    Shapes: each (n,). Units: metres on a plane, minutes, metres per minute, kilograms, XAF.
    `until` is the last moment at which he may pick up; `capacity` counts the orders of one trip;
    `accepts` is the chance that he says yes. NaN in completion and rating is unknown.
    """

    x: Floats
    y: Floats
    free_at: Floats
    until: Floats
    speed: Floats
    capacity: Ints
    kg: Floats
    cash: Floats
    vehicle: Ints
    zone: Ints
    acceptance_chance: Floats
    completion: Floats
    rating: Floats
    active: Floats


class Orders(NamedTuple):
    """Open orders as columns; `place` is the row of the pickup in `Places`.

    Shapes: each (m,). Units: metres on the same plane, minutes, kilograms, XAF. `vehicles` are
    bits. `shares` says that the goods may lie beside those of other places: a parcel may, a hot
    meal may not.
    """

    place: Ints
    x: Floats
    y: Floats
    placed: Floats
    ready: Floats
    kg: Floats
    cash: Floats
    vehicles: Ints
    zone: Ints
    may_share: NDArray[np.bool_]


class Places(NamedTuple):
    """Where goods are picked up; `demand` says how often of late. Shapes: each (k,)."""

    x: Floats
    y: Floats
    demand: Floats


class Stop(NamedTuple):
    """Somewhere a rider hands goods over: the pickup or the drop-off of one order."""

    order: int
    is_pickup: bool


class CommittedRider(NamedTuple):
    """A rider under way: the stops ahead of him, and when he is at the first of them.

    Stops may be added behind the first. An order whose pickup is still ahead may be given to
    somebody else, as long as he still goes where he is going for one of these orders.
    """

    rider: int
    stops: Sequence[Stop]
    arrives_at: float


class Problem(NamedTuple):
    """One decision's facts. `blocked` are, by order, riders who must not have it."""

    now: float
    riders: Riders
    orders: Orders
    places: Places
    committed: Sequence[CommittedRider] = ()
    blocked: Mapping[int, Collection[int]] = MappingProxyType({})
    rules: Rules = Rules()


class PlannedTrip(NamedTuple):
    """One trip of one rider: its stops in order, when the first of them happens, and why.

    `go` says that he must leave now, or that he is under way already; the others are a forecast
    that the next decision makes anew. `terms` add up to what the trip costs. Units: minutes.
    """

    rider: int
    stops: tuple[Stop, ...]
    starts_at: float
    is_firm: bool
    terms: Mapping[str, float]

    @property
    def orders(self) -> tuple[int, ...]:
        """The orders in the sequence of their drop-offs."""
        return tuple(stop.order for stop in self.stops if not stop.is_pickup)


class Plan(NamedTuple):
    """Who carries what: one task after the other for each rider, and the orders nobody can take."""

    trips: Sequence[PlannedTrip]
    unassigned: Sequence[int]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(rider, order) of whoever must leave now or is under way."""
        return [(task.rider, order) for task in self.trips if task.is_firm for order in task.orders]


def exclusion_reason(problem: Problem, rider: int, order: int) -> str | None:
    """Why a rider must not carry an order; None where he may."""
    riders, orders = problem.riders, problem.orders
    if rider in problem.blocked.get(order, ()):
        return "blocked"
    if not int(riders.vehicle[rider]) & int(orders.vehicles[order]):
        return "vehicle"
    zones = (int(riders.zone[rider]), int(orders.zone[order]))
    if NO_ZONE not in zones and zones[0] != zones[1]:
        return "zone"
    if orders.kg[order] > riders.kg[rider]:
        return "weight"
    if orders.cash[order] > riders.cash[rider]:
        return "cash limit"
    if riders.capacity[rider] < 1:
        return "capacity"
    return None


def may_carry(problem: Problem, riders: Ints, order: int) -> NDArray[np.bool_]:
    """The same for many riders at once. Shapes: riders (r,) rows, answer (r,)."""
    who, what = problem.riders, problem.orders
    zone, zones = int(what.zone[order]), who.zone[riders]
    fits = (
        ((who.vehicle[riders] & int(what.vehicles[order])) != 0)
        & ((zones == zone) | (zones == NO_ZONE) | (zone == NO_ZONE))
        & (who.kg[riders] >= what.kg[order])
        & (who.cash[riders] >= what.cash[order])
        & (who.capacity[riders] >= 1)
    )
    barred = problem.blocked.get(order)
    return fits & ~np.isin(riders, list(barred)) if barred else fits
