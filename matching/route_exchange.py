"""Route exchange: reassigns whole lists of trips between riders, all at once."""

from collections.abc import Callable
from typing import cast

import numpy as np
from scipy import optimize  # pyright: ignore[reportMissingTypeStubs]

from matching.cost import INFEASIBLE
from matching.problem import Floats, Ints
from matching.schedule import Schedule

# Stands for INFEASIBLE in the cost matrix, which must be finite. Units: minutes.
INFEASIBLE_MINUTES = 1e6

# SciPy has no types of its own. Shapes: (g, r) in, two of (min(g, r),) out.
_assign = cast(
    "Callable[[Floats], tuple[Ints, Ints]]",
    optimize.linear_sum_assignment,  # pyright: ignore[reportUnknownMemberType]
)


def exchange_routes(schedule: Schedule, nearby: dict[int, list[int]]) -> None:
    """Assign every list of trips that has not begun to a rider so that the total is cheapest.

    Source: Kuhn 1955, the assignment problem; each rider gets one list, or none.
    """
    givers = [
        rider
        for rider, trips in sorted(schedule.trips.items())
        if trips and not schedule.is_under_way(rider)
    ]
    if len(givers) < 2:
        return
    lists = [schedule.trips[rider] for rider in givers]
    takers = [_capable_riders(schedule, nearby, giver) for giver in givers]
    riders = sorted({rider for row in takers for rider in row})
    column = {rider: at for at, rider in enumerate(riders)}
    idle = {rider: schedule.cost_with(rider, []) for rider in riders}
    # What a rider's cost grows by with the list instead of nothing.
    price: Floats = np.full((len(givers), len(riders)), INFEASIBLE_MINUTES)
    for row, trips in enumerate(lists):
        for rider in takers[row]:
            cost = schedule.cost_with(rider, schedule.retime_for(rider, trips))
            if cost < INFEASIBLE:
                price[row, column[rider]] = cost - idle[rider]
    for rider in givers:
        schedule.set_trips(rider, [])
    for row, at in zip(*_assign(price), strict=True):
        rider = riders[int(at)]
        schedule.set_trips(rider, schedule.retime_for(rider, lists[int(row)]))


def _capable_riders(schedule: Schedule, nearby: dict[int, list[int]], giver: int) -> list[int]:
    """The riders who could take over all trips of a rider: itself, and those near every order."""
    trips = schedule.trips[giver]
    orders = [order for trip in trips for order in trip.drops]
    fits = set(nearby[orders[0]]).intersection(*(nearby[order] for order in orders[1:]))
    fits = {rider for rider in fits if not schedule.is_under_way(rider)}
    return [rider for rider in sorted(fits | {giver}) if schedule.has_room(rider, trips)]
