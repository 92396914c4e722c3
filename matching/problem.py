"""Input and output of one matching decision: riders, orders and places as columns; the plan."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

# Bit mask of all vehicles; an order's mask says which of them may carry it.
ANY_VEHICLE = 0xFF
# Riders and orders without a zone match every zone.
NO_ZONE = -1


class Rules(NamedTuple):
    """Fixed times and thresholds of a decision. Units: minutes.

    Every stop takes `before_handover` and then `after_handover`. `rounds_up_minutes` rounds travel
    times up to whole minutes. An order later than `lost_after` after it was placed counts as lost.
    `tick` is the time until the next decision, `reassignment_threshold` what must be gained by
    taking an order from a rider who has accepted it.
    """

    before_handover: float = 2.0
    after_handover: float = 2.0
    rounds_up_minutes: bool = False
    lost_after: float = 120.0
    tick: float = 1.0
    reassignment_threshold: float = 0.0


class Riders(NamedTuple):
    """Riders as columns: where and when each will be free.

    Shapes: each (n,). Units: `x`, `y` metres on a plane; `free_at`, `until` minutes; `speed` metres
    per minute; `kg` kilograms; `cash` XAF. `until` is the last moment for a pickup; `capacity`
    counts the orders of one trip; `acceptance_chance` is a probability. NaN in `completion` and
    `rating` is unknown.
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
    """Open orders as columns; `place` is the row of the pickup in `Places`, `x`, `y` the drop-off.

    Shapes: each (m,). Units: `x`, `y` metres on the riders' plane; `placed`, `ready` minutes; `kg`
    kilograms; `cash` XAF. `vehicles` is a bit mask. `may_share` says that the goods may travel with
    those of other places: a parcel may, a hot meal may not.
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
    may_share: Bools


class Places(NamedTuple):
    """Pickup places; `demand` counts their recent orders.

    Shapes: each (k,). Units: `x`, `y` metres on the riders' plane.
    """

    x: Floats
    y: Floats
    demand: Floats


class Stop(NamedTuple):
    """One stop of a trip: the pickup or the drop-off of one order."""

    order: int
    is_pickup: bool


class CommittedRider(NamedTuple):
    """A rider under way: its remaining stops, and when it is at the first of them. Units: minutes.

    Stops may be added behind the first. An order whose pickup is still ahead may be given to
    another rider, as long as this rider still goes to its next stop for one of these orders.
    """

    rider: int
    stops: Sequence[Stop]
    arrives_at: float


class Problem(NamedTuple):
    """The input of one decision. `blocked` maps an order to riders who must not get it.

    Units: `now` minutes.
    """

    now: float
    riders: Riders
    orders: Orders
    places: Places
    committed: Sequence[CommittedRider] = ()
    blocked: Mapping[int, Collection[int]] = MappingProxyType({})
    rules: Rules = Rules()


class PlannedTrip(NamedTuple):
    """One trip of one rider: its stops in order, when the first of them happens, and its cost.

    `is_firm`: the rider must leave now or is under way already; other trips are a forecast that the
    next decision replaces. `terms` add up to the cost of the trip. Units: minutes.
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
    """The output of a decision: each rider's trips in sequence, and orders without a rider."""

    trips: Sequence[PlannedTrip]
    unassigned: Sequence[int]


def exclusion_reason(problem: Problem, rider: int, order: int) -> str | None:
    """Why a rider must not carry an order; None where it may."""
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


def may_carry(problem: Problem, riders: Ints, order: int) -> Bools:
    """Whether each of these riders may carry an order: `exclusion_reason` for many at once.

    Shapes: `riders` (r,) rows of `Problem.riders`, answer (r,).
    """
    columns, orders = problem.riders, problem.orders
    zone, zones = int(orders.zone[order]), columns.zone[riders]
    fits = (
        ((columns.vehicle[riders] & int(orders.vehicles[order])) != 0)
        & ((zones == zone) | (zones == NO_ZONE) | (zone == NO_ZONE))
        & (columns.kg[riders] >= orders.kg[order])
        & (columns.cash[riders] >= orders.cash[order])
        & (columns.capacity[riders] >= 1)
    )
    blocked = problem.blocked.get(order)
    return fits & ~np.isin(riders, list(blocked)) if blocked else fits
