"""Why this rider and not another: what each rider around would have cost, or what barred him."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from matching.cost import INFEASIBLE, Costs, Weights
from matching.problem import Problem, exclusion_reason
from matching.trip import single_order_trip


class Alternative(NamedTuple):
    """A rider with this order alone: when he would be there, what it costs, or why he must not.

    `terms` add up to `cost`. Units: minutes.
    """

    rider: int
    cost: float
    terms: Mapping[str, float]
    excluded: str | None


class PlanExplainer:
    """Looks at one problem again, for whoever asks why."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._costs = Costs(problem, Weights())
        self._under_way = {bound.rider for bound in problem.committed}

    def alternatives(self, order: int, count: int) -> list[Alternative]:
        """The riders who could be at an order's pickup first, cheapest first, barred ones last."""
        riders, place = self._problem.riders, self._problem.orders.place[order]
        x, y = self._problem.places.x[place], self._problem.places.y[place]
        way = np.hypot(riders.x - x, riders.y - y) / riders.speed
        first = np.argsort(riders.free_at + way, kind="stable")[:count].tolist()
        found = [self._alternative(rider, order) for rider in first]
        return sorted(found, key=lambda each: (each.excluded is not None, each.cost, each.rider))

    def _alternative(self, rider: int, order: int) -> Alternative:
        costs, problem = self._costs, self._problem
        trip = single_order_trip(problem, costs.travel_times[rider], order)
        spot = costs.free_spot_of(rider)
        way = spot.to_places[trip.place]
        starts_at = costs.start_after(trip, spot.free_at, way)
        terms = costs.terms(rider, trip, (starts_at, spot.free_at, way))
        after = costs.free_spot_after(rider, trip, starts_at)
        terms["end"] = costs.end_cost(rider, after) - costs.end_cost(rider, spot)
        bar = exclusion_reason(problem, rider, order)
        if bar is None and costs.cost_of_trips(rider, spot, (trip,)) == INFEASIBLE:
            bar = "shift ends"
        if bar is None and rider in self._under_way:
            bar = "under way"
        return Alternative(rider, sum(terms.values()), terms, bar)
