"""Every rider's trips in their order, and what it costs to put one more order among them."""

from collections.abc import Iterator
from typing import NamedTuple

from matching.cost import INFEASIBLE, Costs, FreeSpot
from matching.problem import PlannedTrip, Problem, Stop
from matching.trip import Trip, single_order_trip


class Insertion(NamedTuple):
    """An order put into a rider's trips: what it costs, and what stands there then.

    The trip stands at `at`: a new one, or in the place of the one it grew out of.
    """

    cost: float
    rider: int
    trip_index: int
    trip: Trip
    is_new_trip: bool


class Schedule:
    """Trips of all riders; the first one of a rider under way has a fixed first stop."""

    def __init__(self, problem: Problem, costs: Costs) -> None:
        self._problem = problem
        self._costs = costs
        self._capacity: list[int] = problem.riders.capacity.tolist()
        self._kg: list[float] = problem.riders.kg.tolist()
        self._cash: list[float] = problem.riders.cash.tolist()
        # A trip grown by an order is looked at again and again while others are placed.
        self._extended_trips: dict[tuple[float, tuple[Stop, ...], int], list[Trip]] = {}
        self._speed: list[float] = problem.riders.speed.tolist()
        by_speed: dict[float, dict[int, Trip]] = {speed: {} for speed in self._speed}
        self._single_order_trips = [by_speed[speed] for speed in self._speed]
        self.trips: dict[int, list[Trip]] = {}
        self.rider_of: dict[int, int] = {}
        # Before each trip and after the last; and what it costs from there on.
        self._free_spots: dict[int, list[FreeSpot]] = {}
        self._remaining_costs: dict[int, list[float]] = {}
        self._cash_left: dict[int, float] = {}
        # What a rider under way has said yes to.
        self._accepted_orders: dict[int, set[int]] = {}
        for bound in problem.committed:
            self._accepted_orders[bound.rider] = {stop.order for stop in bound.stops}
            trip = Trip(problem, costs.travel_times[bound.rider], bound.stops)
            self.set_trips(bound.rider, [trip])

    def is_under_way(self, rider: int) -> bool:
        """Whether the rider's first trip has begun."""
        return rider in self._costs.arrives_at

    def cost_of(self, rider: int) -> float:
        """What all of a rider's trips cost."""
        self._ensure_measured(rider)
        return self._remaining_costs[rider][0]

    def cost_with(self, rider: int, trips: list[Trip]) -> float:
        """What it would cost if a rider who has not begun had these trips; NEVER if too late."""
        self._ensure_measured(rider)
        return self._costs.cost_of_trips(rider, self._free_spots[rider][0], trips)

    def retime_for(self, rider: int, trips: list[Trip]) -> list[Trip]:
        """The same trips at the speed of this rider."""
        ways = self._costs.travel_times[rider]
        return [
            trip if trip.travel_times is ways else self.make_trip(rider, trip.stops)
            for trip in trips
        ]

    def make_trip(self, rider: int, stops: tuple[Stop, ...]) -> Trip:
        """The trip of these stops at the speed of this rider."""
        return Trip(self._problem, self._costs.travel_times[rider], stops)

    def reassignment_threshold(self, order: int) -> float:
        """What must be gained by moving an order from where it is. Units: minutes."""
        told = self._accepted_orders.get(self.rider_of[order])
        return self._problem.rules.reassignment_threshold if told and order in told else 0.0

    def has_room(self, rider: int, trips: list[Trip]) -> bool:
        """Whether a rider can hold these trips' goods, and collect their cash."""
        return (
            all(trip.count <= self._capacity[rider] for trip in trips)
            and all(trip.kg <= self._kg[rider] for trip in trips)
            and sum(trip.cash for trip in trips) <= self._cash[rider]
        )

    def best_insertion(self, rider: int, order: int) -> Insertion | None:
        """The cheapest way to give an order to a rider; None where there is none."""
        self._ensure_measured(rider)
        trips = self.trips[rider]
        if self._costs.order_lists.cash[order] > self._cash_left[rider]:
            return None
        best = self._best_new_trip(rider, order)
        for at, trip in enumerate(trips):
            if not self._may_combine(trip, order) or not self._has_capacity_for(rider, trip, order):
                continue
            for grown in self._extend_trip(rider, trip, order):
                cost = (
                    self._cost_from(rider, at, [grown, *trips[at + 1 :]])
                    - self._remaining_costs[rider][at]
                )
                if cost < (best.cost if best else INFEASIBLE):
                    best = Insertion(cost, rider, at, grown, is_new_trip=False)
        return best

    def _best_new_trip(self, rider: int, order: int) -> Insertion | None:
        trips, spots, rest = (
            self.trips[rider],
            self._free_spots[rider],
            self._remaining_costs[rider],
        )
        trip = self._single_order_trips[rider].get(order) or self._single_order_trip(rider, order)
        if not trips:
            cost = self._costs.cost_of_trips(rider, spots[0], (trip,)) - rest[0]
            return Insertion(cost, rider, 0, trip, is_new_trip=True) if cost < INFEASIBLE else None
        best: Insertion | None = None
        for at in range(int(self.is_under_way(rider)), len(trips) + 1):
            cost = self._costs.cost_of_trips(rider, spots[at], [trip, *trips[at:]]) - rest[at]
            if cost < (best.cost if best else INFEASIBLE):
                best = Insertion(cost, rider, at, trip, is_new_trip=True)
        return best

    def insert(self, order: int, insertion: Insertion) -> None:
        """Do it."""
        trips = self.trips[insertion.rider]
        if insertion.is_new_trip:
            trips.insert(insertion.trip_index, insertion.trip)
        else:
            trips[insertion.trip_index] = insertion.trip
        self.set_trips(insertion.rider, trips)
        assert self.rider_of[order] == insertion.rider

    def remove(self, order: int) -> list[Trip] | None:
        """Take an order out; the rider's trips before that, None where it must stay with him."""
        rider = self.rider_of[order]
        before = self.trips[rider]
        at = next(i for i, trip in enumerate(before) if order in trip.drops)
        trip = before[at]
        stops = tuple(stop for stop in trip.stops if stop.order != order)
        less = [self.make_trip(rider, stops)] if stops else []
        if at == 0 and self.is_under_way(rider) and not self._may_remove_order(rider, trip, less):
            return None
        del self.rider_of[order]
        self.set_trips(rider, [*before[:at], *less, *before[at + 1 :]])
        return before

    def set_trips(self, rider: int, trips: list[Trip]) -> None:
        """These are a rider's trips from now on."""
        self.trips[rider] = trips
        for trip in trips:
            for order in trip.drops:
                self.rider_of[order] = rider
        self._measure(rider)

    def planned_trips(self) -> Iterator[PlannedTrip]:
        """The trips as they are told to the outside, each with its reasons."""
        costs, problem = self._costs, self._problem
        for rider in sorted(self.trips):
            for at, trip in enumerate(self.trips[rider]):
                under_way = at == 0 and self.is_under_way(rider)
                spot = self._free_spots[rider][at]
                way = 0.0 if under_way else spot.to_places[trip.place]
                starts_at = costs.first_start(rider, trip) if under_way else (
                    costs.start_after(trip, spot.free_at, way)
                )  # fmt: skip
                free_at = problem.now if under_way else spot.free_at
                terms = costs.terms(rider, trip, (starts_at, free_at, way))
                after = self._free_spots[rider][at + 1]
                terms["end"] = costs.end_cost(rider, after) - costs.end_cost(rider, spot)
                go = under_way or (at == 0 and self._is_due(rider, starts_at - way, spot.free_at))
                yield PlannedTrip(rider, trip.stops, starts_at, go, terms)

    def _is_due(self, rider: int, leave_at: float, free_at: float) -> bool:
        """Whether waiting for the next decision would cost a delay."""
        problem, tick = self._problem, self._problem.rules.tick
        says_no = 1 - float(problem.riders.acceptance_chance[rider])
        ahead = self._costs.weights.decline_lead_minutes * says_no // tick * tick
        wait = leave_at - problem.rules.before_handover - problem.now
        return free_at <= problem.now and wait < tick + ahead

    def _ensure_measured(self, rider: int) -> None:
        if rider not in self.trips:
            self.set_trips(rider, [])

    def _measure(self, rider: int) -> None:
        """Spots and costs along a rider's trips."""
        costs, trips = self._costs, self.trips[rider]
        self._cash_left[rider] = self._cash[rider] - sum(trip.cash for trip in trips)
        spots = [costs.free_spot_of(rider)]
        priced: list[float] = []
        for at, trip in enumerate(trips):
            spot = spots[-1]
            if at == 0 and self.is_under_way(rider):
                starts_at, way, free_at = costs.first_start(rider, trip), 0.0, self._problem.now
            else:
                way, free_at = spot.to_places[trip.place], spot.free_at
                starts_at = costs.start_after(trip, free_at, way)
            priced.append(sum(costs.terms(rider, trip, (starts_at, free_at, way)).values()))
            spots.append(costs.free_spot_after(rider, trip, starts_at))
        rest = [costs.end_cost(rider, spots[-1])]
        for price in reversed(priced):
            rest.append(rest[-1] + price)
        self._free_spots[rider], self._remaining_costs[rider] = spots, rest[::-1]

    def _cost_from(self, rider: int, trip_index: int, trips: list[Trip]) -> float:
        """What these trips cost in the place of all from `at` on."""
        costs = self._costs
        if trip_index > 0 or not self.is_under_way(rider):
            return costs.cost_of_trips(rider, self._free_spots[rider][trip_index], trips)
        first = trips[0]
        starts_at = costs.first_start(rider, first)
        if starts_at + first.last_pickup > costs.until[rider]:
            return INFEASIBLE
        terms = costs.terms(rider, first, (starts_at, self._problem.now, 0.0))
        after = costs.free_spot_after(rider, first, starts_at)
        return sum(terms.values()) + costs.cost_of_trips(rider, after, trips[1:])

    def _may_remove_order(self, rider: int, trip: Trip, shortened: list[Trip]) -> bool:
        """Whether a rider under way can do without one of his orders.

        What he carries already is his. He still goes where he is going, for something that he said
        yes to, and what is left must not have been ready so early that he would be gone by now.
        """
        carried = len(trip.drops) * 2 > len(trip.stops)
        if not shortened or carried or shortened[0].place != trip.place:
            return False
        if self._accepted_orders[rider].isdisjoint(shortened[0].drops):
            return False
        return self._costs.first_start(rider, shortened[0]) >= self._problem.now

    def _single_order_trip(self, rider: int, order: int) -> Trip:
        found = single_order_trip(self._problem, self._costs.travel_times[rider], order)
        self._single_order_trips[rider][order] = found
        return found

    def _has_capacity_for(self, rider: int, trip: Trip, order: int) -> bool:
        """Whether a rider can take one more order along."""
        kg = trip.kg + self._costs.order_lists.kg[order]
        return trip.count < self._capacity[rider] and kg <= self._kg[rider]

    def _may_combine(self, trip: Trip, order: int) -> bool:
        """Whether an order's goods may lie beside those of a trip."""
        sheet = self._costs.order_lists
        if trip.may_share and sheet.may_share[order]:
            return True
        return trip.place == sheet.place[order] and len(trip.places) == 1

    def _extend_trip(self, rider: int, trip: Trip, order: int) -> list[Trip]:
        """The trip with one more order, in every way that is allowed."""
        sheet = self._costs.order_lists
        key = (self._speed[rider], trip.stops, order)
        found = self._extended_trips.get(key)
        if found is None:
            ways = self._costs.travel_times[rider]
            found = [
                Trip(self._problem, ways, stops)
                for stops in _stops_with_order(sheet.place, trip.stops, order)
            ]
            self._extended_trips[key] = found
        return found


def _stops_with_order(
    place: list[int], stops: tuple[Stop, ...], order: int
) -> Iterator[tuple[Stop, ...]]:
    """The stops with an order's pickup and drop-off among them; the first stays where it is."""
    pick, drop = Stop(order, is_pickup=True), Stop(order, is_pickup=False)
    here = 0
    while stops[here].is_pickup and place[stops[here].order] == place[order]:
        here += 1
    # Where he picks up at this place anyway, he takes it along.
    picks = [here] if here else range(1, len(stops) + 1)
    for at in picks:
        for end in range(at, len(stops) + 1):
            yield (*stops[:at], pick, *stops[at:end], drop, *stops[end:])
