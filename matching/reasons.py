"""Explanation of a plan: what other riders would have cost, or why they were excluded."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from matching.cost import INFEASIBLE, Costs, Weights
from matching.problem import Problem, exclusion_reason
from matching.trip import single_order_trip


class Alternative(NamedTuple):
    """A rider with this order alone: its cost, or the reason why it is excluded.

    `terms` add up to `cost`. Units: minutes.
    """

    rider: int
    cost: float
    terms: Mapping[str, float]
    excluded: str | None


class PlanExplainer:
    """Computes the alternatives of one problem's decisions."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._costs = Costs(problem, Weights())
        self._under_way = {each.rider for each in problem.committed}

    def alternatives(self, order: int, count: int) -> list[Alternative]:
        """The `count` riders who could be at the pickup first: cheapest first, excluded ones last.

        Units: minutes.
        """
        riders, place = self._problem.riders, self._problem.orders.place[order]
        x, y = self._problem.places.x[place], self._problem.places.y[place]
        travel = np.hypot(riders.x - x, riders.y - y) / riders.speed
        first: list[int] = np.argsort(riders.free_at + travel, kind="stable")[:count].tolist()
        found = [self._alternative(rider, order) for rider in first]
        return sorted(found, key=lambda each: (each.excluded is not None, each.cost, each.rider))

    def _alternative(self, rider: int, order: int) -> Alternative:
        costs, problem = self._costs, self._problem
        trip = single_order_trip(problem, costs.travel_times[rider], order)
        spot = costs.free_spot_of(rider)
        travel = spot.to_places[trip.place]
        starts_at = costs.start_after(trip, spot.free_at, travel)
        terms = costs.terms(rider, trip, starts_at, spot.free_at, travel)
        after = costs.free_spot_after(rider, trip, starts_at)
        terms["end"] = costs.end_cost(rider, after) - costs.end_cost(rider, spot)
        excluded = exclusion_reason(problem, rider, order)
        if excluded is None and costs.cost_of_trips(rider, spot, (trip,)) == INFEASIBLE:
            excluded = "shift ends"
        if excluded is None and rider in self._under_way:
            excluded = "under way"
        return Alternative(rider, sum(terms.values()), terms, excluded)
