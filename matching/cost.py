"""What a rider's trips cost, term by term; everything is in minutes of somebody's delay."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from matching.problem import Problem
from matching.travel_times import Sheet, Ways, sheet_of
from matching.trip import Trip

NEVER = float("inf")


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
    away_minute: float = 0.3
    # In the last minutes of a shift it matters less and less where he ends.
    away_fades: float = 60.0
    # What a declined offer takes.
    retry: float = 1.0
    # So much earlier, in whole ticks, somebody is asked who never says yes; others in proportion.
    ask_ahead: float = 8.0


class Spot(NamedTuple):
    """When a rider is free, the ways from there to every place, how far that is from the demand."""

    free_at: float
    here: Sequence[float]
    away: float


class Costs:
    """Costs of sequences of trips, for one problem."""

    def __init__(self, problem: Problem, weights: Weights) -> None:
        self.problem = problem
        self.weights = weights
        self.sheet: Sheet = sheet_of(problem.orders)
        riders = problem.riders
        speeds = sorted(set(riders.speed.tolist()))
        self._ways = {speed: Ways(problem, self.sheet, speed) for speed in speeds}
        self.ways = [self._ways[speed] for speed in riders.speed.tolist()]
        self.free_at: list[float] = riders.free_at.tolist()
        self.until: list[float] = riders.until.tolist()
        self._decline: list[float] = ((1 - riders.accepts) * weights.retry).tolist()
        demand = problem.places.demand
        share = demand / demand.sum() if demand.sum() > 0 else np.full(len(demand), 1 / len(demand))
        self._share = share
        self._away_drop = {speed: self._away_of_drops(ways) for speed, ways in self._ways.items()}
        self._away_rider: dict[int, float] = {}
        self.away = [self._away_drop[speed][0] for speed in riders.speed.tolist()]
        self._middle = [self._away_drop[speed][1] for speed in riders.speed.tolist()]
        self._back = [ways.back for ways in self.ways]
        self._now, self._before = problem.now, problem.rules.before
        self._rider_minute, self._later_minute = weights.rider_minute, weights.later_minute
        self._away_minute, self._away_fades = weights.away_minute, weights.away_fades
        self.arrives_at = {bound.rider: bound.arrives_at for bound in problem.bound}

    def _away_of_drops(self, ways: Ways) -> tuple[list[float], float]:
        """How far each drop-off is from the demand, above their mean, and that mean."""
        away = np.asarray(ways.back) @ self._share
        middle = float(away.mean())
        return (away - middle).tolist(), middle

    def away_of_rider(self, rider: int) -> float:
        """How far from the demand a rider stands, above the mean of the drop-offs."""
        found = self._away_rider.get(rider)
        if found is None:
            ways = np.asarray(self.ways[rider].of_rider(rider))
            found = float(ways @ self._share) - self._middle[rider]
            self._away_rider[rider] = found
        return found

    def spot_of_rider(self, rider: int) -> Spot:
        """Where a rider with nothing to do is."""
        here = self.ways[rider].of_rider(rider)
        return Spot(self.free_at[rider], here, self.away_of_rider(rider))

    def spot_after(self, rider: int, trip: Trip, starts_at: float) -> Spot:
        """Where a rider is when a trip is done."""
        here = self.ways[rider].back[trip.last]
        return Spot(starts_at + trip.takes, here, self.away[rider][trip.last])

    def first_start(self, rider: int, trip: Trip) -> float:
        """When the trip under way has its first stop."""
        return max(trip.ready, self.arrives_at[rider] + self.problem.rules.before)

    def start_after(self, trip: Trip, free_at: float, way: float) -> float:
        """When a trip has its first stop if its rider is free then and so far away."""
        return max(trip.ready, free_at + way + self.problem.rules.before)

    def at_end(self, rider: int, spot: Spot) -> float:
        """The terms that look at where and when a rider is free in the end."""
        free_at, _, away = spot
        weights, left = self.weights, self.until[rider] - free_at
        if left <= 0:
            # What he does after his shift takes nothing from other orders.
            return weights.rider_minute * left
        return weights.away_minute * away * min(1.0, left / weights.away_fades)

    def terms(self, rider: int, trip: Trip, moment: tuple[float, float, float]) -> dict[str, float]:
        """What one trip costs, by name; `moment` is when it starts, when he is free, his way."""
        starts_at, free_at, way = moment
        weights = self.weights
        return {
            "delay": trip.delay(starts_at),
            "rider": weights.rider_minute * (way + trip.takes),
            "later": weights.later_minute * trip.count * max(0.0, free_at - self.problem.now),
            "decline": self._decline[rider] * trip.count,
        }

    def tail(self, rider: int, spot: Spot, trips: Sequence[Trip]) -> float:
        """What `trips` cost from a spot on, with their end; NEVER where one comes too late.

        The same sum as `terms` and `at_end`, written out: the innermost loop of a decision.
        """
        if not trips:
            return self.at_end(rider, spot)
        until, now, before = self.until[rider], self._now, self._before
        rider_minute, later_minute = self._rider_minute, self._later_minute
        free_at, here, away = spot
        cost, count, last = 0.0, 0, 0
        back = self._back[rider]
        for trip in trips:
            way = here[trip.place]
            starts_at = free_at + way + before
            starts_at = max(starts_at, trip.ready)
            if starts_at + trip.last_pickup > until:
                return NEVER
            if starts_at <= trip.soon:
                cost += trip.count * starts_at + trip.shift + rider_minute * (way + trip.takes)
            else:
                cost += trip.delay(starts_at) + rider_minute * (way + trip.takes)
            count += trip.count
            if free_at > now:
                cost += trip.count * later_minute * (free_at - now)
            free_at = starts_at + trip.takes
            last = trip.last
            here = back[last]
        cost += count * self._decline[rider]
        left = until - free_at
        if left <= 0:
            return cost + rider_minute * left
        away = self.away[rider][last]
        fade = left / self._away_fades
        return cost + self._away_minute * away * (min(1.0, fade))
