"""What a rider's trips cost, term by term; everything is in minutes of somebody's delay."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from matching.problem import Problem
from matching.travel_times import OrderLists, TravelTimes, to_order_lists
from matching.trip import Trip

INFEASIBLE = float("inf")


class Weights(NamedTuple):
    """How much each term counts, for every city and every load. Units: minutes.

    Source: chosen on six instances of the public Meal Delivery Routing Problem library, checked on
    the others (bench/README.md).
    """

    # A minute of a rider on the move, up to the end of his shift.
    rider_minute: float = 0.15
    # A minute until he is free for it: a plan so far ahead will hardly come true.
    later_minute: float = 0.3
    # A minute farther from where orders come from, at the end of all his trips.
    demand_distance_minute: float = 0.3
    # In the last minutes of a shift it matters less and less where he ends.
    demand_distance_fade_minutes: float = 60.0
    # What a declined offer takes.
    decline_minutes: float = 1.0
    # So much earlier, in whole ticks, somebody is asked who never says yes; others in proportion.
    decline_lead_minutes: float = 8.0


class FreeSpot(NamedTuple):
    """When a rider is free, the ways from there to every place, how far that is from the demand."""

    free_at: float
    to_places: Sequence[float]
    demand_distance: float


class Costs:
    """Costs of sequences of trips, for one problem."""

    def __init__(self, problem: Problem, weights: Weights) -> None:
        self.problem = problem
        self.weights = weights
        self.order_lists: OrderLists = to_order_lists(problem.orders)
        riders = problem.riders
        speeds = sorted(set(riders.speed.tolist()))
        self._times_by_speed = {
            speed: TravelTimes(problem, self.order_lists, speed) for speed in speeds
        }
        self.travel_times = [self._times_by_speed[speed] for speed in riders.speed.tolist()]
        self.free_at: list[float] = riders.free_at.tolist()
        self.until: list[float] = riders.until.tolist()
        self._decline_cost: list[float] = (
            (1 - riders.acceptance_chance) * weights.decline_minutes
        ).tolist()
        demand = problem.places.demand
        share = demand / demand.sum() if demand.sum() > 0 else np.full(len(demand), 1 / len(demand))
        self._demand_share = share
        self._drop_demand_distance = {
            speed: self._demand_distance_of_drops(ways)
            for speed, ways in self._times_by_speed.items()
        }
        self._rider_demand_distance: dict[int, float] = {}
        self.demand_distance = [
            self._drop_demand_distance[speed][0] for speed in riders.speed.tolist()
        ]
        self._mean_demand_distance = [
            self._drop_demand_distance[speed][1] for speed in riders.speed.tolist()
        ]
        self._drop_to_places = [ways.drop_to_places for ways in self.travel_times]
        self._now, self._before_handover = problem.now, problem.rules.before_handover
        self._rider_minute, self._later_minute = weights.rider_minute, weights.later_minute
        self._demand_distance_minute, self._demand_distance_fade_minutes = (
            weights.demand_distance_minute,
            weights.demand_distance_fade_minutes,
        )
        self.arrives_at = {bound.rider: bound.arrives_at for bound in problem.committed}

    def _demand_distance_of_drops(self, travel_times: TravelTimes) -> tuple[list[float], float]:
        """How far each drop-off is from the demand, above their mean, and that mean."""
        away = np.asarray(travel_times.drop_to_places) @ self._demand_share
        middle = float(away.mean())
        return (away - middle).tolist(), middle

    def demand_distance_of_rider(self, rider: int) -> float:
        """How far from the demand a rider stands, above the mean of the drop-offs."""
        found = self._rider_demand_distance.get(rider)
        if found is None:
            ways = np.asarray(self.travel_times[rider].from_rider(rider))
            found = float(ways @ self._demand_share) - self._mean_demand_distance[rider]
            self._rider_demand_distance[rider] = found
        return found

    def free_spot_of(self, rider: int) -> FreeSpot:
        """Where a rider with nothing to do is."""
        here = self.travel_times[rider].from_rider(rider)
        return FreeSpot(self.free_at[rider], here, self.demand_distance_of_rider(rider))

    def free_spot_after(self, rider: int, trip: Trip, starts_at: float) -> FreeSpot:
        """Where a rider is when a trip is done."""
        here = self.travel_times[rider].drop_to_places[trip.last_drop]
        return FreeSpot(
            starts_at + trip.duration, here, self.demand_distance[rider][trip.last_drop]
        )

    def first_start(self, rider: int, trip: Trip) -> float:
        """When the trip under way has its first stop."""
        return max(trip.ready_at, self.arrives_at[rider] + self.problem.rules.before_handover)

    def start_after(self, trip: Trip, free_at: float, travel: float) -> float:
        """When a trip has its first stop if its rider is free then and so far away."""
        return max(trip.ready_at, free_at + travel + self.problem.rules.before_handover)

    def end_cost(self, rider: int, spot: FreeSpot) -> float:
        """The terms that look at where and when a rider is free in the end."""
        free_at, _, away = spot
        weights, left = self.weights, self.until[rider] - free_at
        if left <= 0:
            # What he does after his shift takes nothing from other orders.
            return weights.rider_minute * left
        return (
            weights.demand_distance_minute
            * away
            * min(1.0, left / weights.demand_distance_fade_minutes)
        )

    def terms(self, rider: int, trip: Trip, moment: tuple[float, float, float]) -> dict[str, float]:
        """What one trip costs, by name; `moment` is when it starts, when he is free, his way."""
        starts_at, free_at, way = moment
        weights = self.weights
        return {
            "delay": trip.delay(starts_at),
            "rider": weights.rider_minute * (way + trip.duration),
            "later": weights.later_minute * trip.count * max(0.0, free_at - self.problem.now),
            "decline": self._decline_cost[rider] * trip.count,
        }

    def cost_of_trips(self, rider: int, spot: FreeSpot, trips: Sequence[Trip]) -> float:
        """What `trips` cost from a spot on, with their end; NEVER where one comes too late.

        The same sum as `terms` and `at_end`, written out: the innermost loop of a decision.
        """
        if not trips:
            return self.end_cost(rider, spot)
        until, now, before = self.until[rider], self._now, self._before_handover
        rider_minute, later_minute = self._rider_minute, self._later_minute
        free_at, here, away = spot
        cost, count, last = 0.0, 0, 0
        back = self._drop_to_places[rider]
        for trip in trips:
            way = here[trip.place]
            starts_at = free_at + way + before
            starts_at = max(starts_at, trip.ready_at)
            if starts_at + trip.last_pickup > until:
                return INFEASIBLE
            if starts_at <= trip.latest_start_on_time:
                cost += (
                    trip.count * starts_at
                    + trip.delay_offset
                    + rider_minute * (way + trip.duration)
                )
            else:
                cost += trip.delay(starts_at) + rider_minute * (way + trip.duration)
            count += trip.count
            if free_at > now:
                cost += trip.count * later_minute * (free_at - now)
            free_at = starts_at + trip.duration
            last = trip.last_drop
            here = back[last]
        cost += count * self._decline_cost[rider]
        left = until - free_at
        if left <= 0:
            return cost + rider_minute * left
        away = self.demand_distance[rider][last]
        fade = left / self._demand_distance_fade_minutes
        return cost + self._demand_distance_minute * away * (min(1.0, fade))
