"""Cost of a rider's trips, term by term, in minutes of an order's delay."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from matching.problem import Problem
from matching.travel_times import OrderLists, TravelTimes, to_order_lists
from matching.trip import Trip

INFEASIBLE = float("inf")


class Weights(NamedTuple):
    """Weight of each cost term, the same for every city and every load. Units: minutes.

    Source: chosen on six instances of the public Meal Delivery Routing Problem library, checked on
    the others (bench/README.md).
    """

    # A minute of a rider on the move, up to the end of the shift.
    rider_minute: float = 0.15
    # A minute until the rider is free for a trip: plans far ahead seldom come true.
    later_minute: float = 0.3
    # A minute farther from where orders come from, at the end of all trips.
    demand_distance_minute: float = 0.3
    # In the last minutes of a shift that distance counts less and less.
    demand_distance_fade_minutes: float = 60.0
    # The time that a declined offer takes.
    decline_minutes: float = 1.0
    # A rider who never accepts is asked this much earlier, in whole ticks; others in proportion.
    decline_lead_minutes: float = 8.0


class FreeSpot(NamedTuple):
    """When a rider is free, the travel times from there to every place, and to the demand.

    Shapes: `to_places` (k,). Units: minutes; `demand_distance` above the mean of the drop-offs.
    """

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
        speed_of: list[float] = riders.speed.tolist()
        speeds = sorted(set(speed_of))
        self._times_by_speed = {
            speed: TravelTimes(problem, self.order_lists, speed) for speed in speeds
        }
        self.travel_times = [self._times_by_speed[speed] for speed in speed_of]
        self.free_at: list[float] = riders.free_at.tolist()
        self.until: list[float] = riders.until.tolist()
        self._decline_cost: list[float] = (
            (1 - riders.acceptance_chance) * weights.decline_minutes
        ).tolist()
        demand = problem.places.demand
        share = demand / demand.sum() if demand.sum() > 0 else np.full(len(demand), 1 / len(demand))
        self._demand_share = share
        drop_demand_distance = {
            speed: self._demand_distance_of_drops(times)
            for speed, times in self._times_by_speed.items()
        }
        self._rider_demand_distance: dict[int, float] = {}
        self.demand_distance = [drop_demand_distance[speed][0] for speed in speed_of]
        self._mean_demand_distance = [drop_demand_distance[speed][1] for speed in speed_of]
        self._drop_to_places = [times.drop_to_places for times in self.travel_times]
        self._now, self._before_handover = problem.now, problem.rules.before_handover
        self._rider_minute, self._later_minute = weights.rider_minute, weights.later_minute
        self._demand_distance_minute, self._demand_distance_fade_minutes = (
            weights.demand_distance_minute,
            weights.demand_distance_fade_minutes,
        )
        self.arrives_at = {each.rider: each.arrives_at for each in problem.committed}

    def _demand_distance_of_drops(self, travel_times: TravelTimes) -> tuple[list[float], float]:
        """Each drop-off's distance from the demand, above their mean; and that mean."""
        distance = np.asarray(travel_times.drop_to_places) @ self._demand_share
        mean = float(distance.mean())
        return (distance - mean).tolist(), mean

    def demand_distance_of_rider(self, rider: int) -> float:
        """A rider's distance from the demand, above the mean of the drop-offs. Units: minutes."""
        found = self._rider_demand_distance.get(rider)
        if found is None:
            to_places = np.asarray(self.travel_times[rider].from_rider(rider))
            found = float(to_places @ self._demand_share) - self._mean_demand_distance[rider]
            self._rider_demand_distance[rider] = found
        return found

    def free_spot_of(self, rider: int) -> FreeSpot:
        """Where and when a rider is free before any new trip."""
        to_places = self.travel_times[rider].from_rider(rider)
        return FreeSpot(self.free_at[rider], to_places, self.demand_distance_of_rider(rider))

    def free_spot_after(self, rider: int, trip: Trip, starts_at: float) -> FreeSpot:
        """Where and when a rider is free after a trip."""
        to_places = self.travel_times[rider].drop_to_places[trip.last_drop]
        return FreeSpot(
            starts_at + trip.duration, to_places, self.demand_distance[rider][trip.last_drop]
        )

    def first_start(self, rider: int, trip: Trip) -> float:
        """When the trip under way has its first stop. Units: minutes."""
        return max(trip.ready_at, self.arrives_at[rider] + self.problem.rules.before_handover)

    def start_after(self, trip: Trip, free_at: float, travel: float) -> float:
        """When a trip has its first stop, for a rider free at a moment and `travel` away from it.

        Units: minutes.
        """
        return max(trip.ready_at, free_at + travel + self.problem.rules.before_handover)

    def end_cost(self, rider: int, spot: FreeSpot) -> float:
        """The terms that depend on where and when a rider is free in the end. Units: minutes."""
        free_at, _, demand_distance = spot
        weights, left = self.weights, self.until[rider] - free_at
        if left <= 0:
            # Work after the shift takes nothing from other orders.
            return weights.rider_minute * left
        return (
            weights.demand_distance_minute
            * demand_distance
            * min(1.0, left / weights.demand_distance_fade_minutes)
        )

    def terms(
        self, rider: int, trip: Trip, starts_at: float, free_at: float, travel: float
    ) -> dict[str, float]:
        """Cost terms of one trip by name.

        The rider is free at `free_at` and travels for `travel`; the first stop is at `starts_at`.
        Units: minutes.
        """
        weights = self.weights
        return {
            "delay": trip.delay(starts_at),
            "rider": weights.rider_minute * (travel + trip.duration),
            "later": weights.later_minute * trip.count * max(0.0, free_at - self.problem.now),
            "decline": self._decline_cost[rider] * trip.count,
        }

    def cost_of_trips(self, rider: int, spot: FreeSpot, trips: Sequence[Trip]) -> float:
        """Cost of `trips` from a spot on, end cost included; INFEASIBLE where one is too late.

        The same sum as `terms` and `end_cost`, written out here because this is the innermost loop
        of a decision. Units: minutes.
        """
        if not trips:
            return self.end_cost(rider, spot)
        until, now, before = self.until[rider], self._now, self._before_handover
        rider_minute, later_minute = self._rider_minute, self._later_minute
        free_at, to_places, _ = spot
        cost, count, last = 0.0, 0, 0
        drop_to_places = self._drop_to_places[rider]
        for trip in trips:
            travel = to_places[trip.place]
            starts_at = free_at + travel + before
            starts_at = max(starts_at, trip.ready_at)
            if starts_at + trip.last_pickup > until:
                return INFEASIBLE
            if starts_at <= trip.latest_start_on_time:
                cost += (
                    trip.count * starts_at
                    + trip.delay_offset
                    + rider_minute * (travel + trip.duration)
                )
            else:
                cost += trip.delay(starts_at) + rider_minute * (travel + trip.duration)
            count += trip.count
            if free_at > now:
                cost += trip.count * later_minute * (free_at - now)
            free_at = starts_at + trip.duration
            last = trip.last_drop
            to_places = drop_to_places[last]
        cost += count * self._decline_cost[rider]
        left = until - free_at
        if left <= 0:
            return cost + rider_minute * left
        demand_distance = self.demand_distance[rider][last]
        fade = left / self._demand_distance_fade_minutes
        return cost + self._demand_distance_minute * demand_distance * (min(1.0, fade))
