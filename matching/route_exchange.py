"""Whole days dealt out anew: what one rider was to do, another may do better, all at once."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from matching.cost import INFEASIBLE
from matching.schedule import Schedule

# Stands for "never" where numbers are needed. Units: minutes.
INFEASIBLE_MINUTES = 1e6


def exchange_routes(schedule: Schedule, nearby: dict[int, list[int]]) -> None:
    """Give every list of trips that has not begun to the rider who makes the whole cheapest.

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
    # What it changes if a rider has the list instead of nothing.
    price = np.full((len(givers), len(riders)), INFEASIBLE_MINUTES)
    for row, trips in enumerate(lists):
        for rider in takers[row]:
            cost = schedule.cost_with(rider, schedule.retime_for(rider, trips))
            if cost < INFEASIBLE:
                price[row, column[rider]] = cost - idle[rider]
    for rider in givers:
        schedule.set_trips(rider, [])
    for row, at in zip(*linear_sum_assignment(price), strict=True):
        rider = riders[int(at)]
        schedule.set_trips(rider, schedule.retime_for(rider, lists[int(row)]))


def _capable_riders(schedule: Schedule, nearby: dict[int, list[int]], giver: int) -> list[int]:
    """Who could do all that a rider is to do: himself, and those near all of it."""
    trips = schedule.trips[giver]
    fits = set.intersection(*(set(nearby[order]) for trip in trips for order in trip.drops))
    fits = {rider for rider in fits if not schedule.is_under_way(rider)}
    return [rider for rider in sorted(fits | {giver}) if schedule.has_room(rider, trips)]
