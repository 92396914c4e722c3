"""Every rider's trips in sequence, and the cost of inserting one more order among them."""

from collections.abc import Iterator
from typing import NamedTuple

from matching.cost import INFEASIBLE, Costs, FreeSpot
from matching.problem import PlannedTrip, Problem, Stop
from matching.trip import Trip, single_order_trip


class Insertion(NamedTuple):
    """An order inserted into a rider's trips: its cost, and the trip that then carries it.

    `trip` stands at `trip_index`: as a new trip, or in place of the one that it extends.
    Units: minutes.
    """

    cost: float
    rider: int
    trip_index: int
    trip: Trip
    is_new_trip: bool


class Schedule:
    """Trips of all riders; the first trip of a rider under way keeps its first stop."""

    def __init__(self, problem: Problem, costs: Costs) -> None:
        self._problem = problem
        self._costs = costs
        self._capacity: list[int] = problem.riders.capacity.tolist()
        self._kg: list[float] = problem.riders.kg.tolist()
        self._cash: list[float] = problem.riders.cash.tolist()
        # Extended trips are looked at repeatedly while other orders are inserted.
        self._extended_trips: dict[tuple[float, tuple[Stop, ...], int], list[Trip]] = {}
        self._speed: list[float] = problem.riders.speed.tolist()
        by_speed: dict[float, dict[int, Trip]] = {speed: {} for speed in self._speed}
        self._single_order_trips = [by_speed[speed] for speed in self._speed]
        self.trips: dict[int, list[Trip]] = {}
        self.rider_of: dict[int, int] = {}
        # Before each trip and after the last; and the cost from there on.
        self._free_spots: dict[int, list[FreeSpot]] = {}
        self._remaining_costs: dict[int, list[float]] = {}
        self._cash_left: dict[int, float] = {}
        # The orders that a rider under way has accepted.
        self._accepted_orders: dict[int, set[int]] = {}
        for each in problem.committed:
            self._accepted_orders[each.rider] = {stop.order for stop in each.stops}
            trip = Trip(problem, costs.travel_times[each.rider], each.stops)
            self.set_trips(each.rider, [trip])

    def is_under_way(self, rider: int) -> bool:
        """Whether the rider's first trip has begun."""
        return rider in self._costs.arrives_at

    def cost_of(self, rider: int) -> float:
        """Cost of all of a rider's trips. Units: minutes."""
        self._ensure_measured(rider)
        return self._remaining_costs[rider][0]

    def cost_with(self, rider: int, trips: list[Trip]) -> float:
        """Cost if a rider who is not under way had these trips; INFEASIBLE if one is too late.

        Units: minutes.
        """
        self._ensure_measured(rider)
        return self._costs.cost_of_trips(rider, self._free_spots[rider][0], trips)

    def retime_for(self, rider: int, trips: list[Trip]) -> list[Trip]:
        """The same trips at the speed of this rider."""
        travel_times = self._costs.travel_times[rider]
        return [
            trip if trip.travel_times is travel_times else self.make_trip(rider, trip.stops)
            for trip in trips
        ]

    def make_trip(self, rider: int, stops: tuple[Stop, ...]) -> Trip:
        """The trip of these stops at the speed of this rider."""
        return Trip(self._problem, self._costs.travel_times[rider], stops)

    def reassignment_threshold(self, order: int) -> float:
        """What must be gained by moving an order from its rider. Units: minutes."""
        accepted = self._accepted_orders.get(self.rider_of[order])
        if accepted and order in accepted:
            return self._problem.rules.reassignment_threshold
        return 0.0

    def has_room(self, rider: int, trips: list[Trip]) -> bool:
        """Whether a rider can carry these trips' goods and collect their cash."""
        return (
            all(trip.count <= self._capacity[rider] for trip in trips)
            and all(trip.kg <= self._kg[rider] for trip in trips)
            and sum(trip.cash for trip in trips) <= self._cash[rider]
        )

    def best_insertion(self, rider: int, order: int) -> Insertion | None:
        """The cheapest insertion of an order into a rider's trips; None where there is none."""
        self._ensure_measured(rider)
        trips = self.trips[rider]
        if self._costs.order_lists.cash[order] > self._cash_left[rider]:
            return None
        best = self._best_new_trip(rider, order)
        for index, trip in enumerate(trips):
            if not self._may_combine(trip, order) or not self._has_capacity_for(rider, trip, order):
                continue
            for extended in self._extend_trip(rider, trip, order):
                cost = (
                    self._cost_from(rider, index, [extended, *trips[index + 1 :]])
                    - self._remaining_costs[rider][index]
                )
                if cost < (best.cost if best else INFEASIBLE):
                    best = Insertion(cost, rider, index, extended, is_new_trip=False)
        return best

    def _best_new_trip(self, rider: int, order: int) -> Insertion | None:
        trips, spots, remaining = (
            self.trips[rider],
            self._free_spots[rider],
            self._remaining_costs[rider],
        )
        trip = self._single_order_trips[rider].get(order) or self._single_order_trip(rider, order)
        if not trips:
            cost = self._costs.cost_of_trips(rider, spots[0], (trip,)) - remaining[0]
            return Insertion(cost, rider, 0, trip, is_new_trip=True) if cost < INFEASIBLE else None
        best: Insertion | None = None
        for index in range(int(self.is_under_way(rider)), len(trips) + 1):
            after = [trip, *trips[index:]]
            cost = self._costs.cost_of_trips(rider, spots[index], after) - remaining[index]
            if cost < (best.cost if best else INFEASIBLE):
                best = Insertion(cost, rider, index, trip, is_new_trip=True)
        return best

    def insert(self, order: int, insertion: Insertion) -> None:
        """Carry out an insertion."""
        trips = self.trips[insertion.rider]
        if insertion.is_new_trip:
            trips.insert(insertion.trip_index, insertion.trip)
        else:
            trips[insertion.trip_index] = insertion.trip
        self.set_trips(insertion.rider, trips)
        assert self.rider_of[order] == insertion.rider

    def remove(self, order: int) -> list[Trip] | None:
        """Take an order from its rider.

        Returns the rider's trips before that; None, and nothing is changed, where it must stay.
        """
        rider = self.rider_of[order]
        before = self.trips[rider]
        index = next(i for i, trip in enumerate(before) if order in trip.drops)
        trip = before[index]
        stops = tuple(stop for stop in trip.stops if stop.order != order)
        shortened = [self.make_trip(rider, stops)] if stops else []
        is_first_under_way = index == 0 and self.is_under_way(rider)
        if is_first_under_way and not self._may_remove_order(rider, trip, shortened):
            return None
        del self.rider_of[order]
        self.set_trips(rider, [*before[:index], *shortened, *before[index + 1 :]])
        return before

    def set_trips(self, rider: int, trips: list[Trip]) -> None:
        """Replace all of a rider's trips."""
        self.trips[rider] = trips
        for trip in trips:
            for order in trip.drops:
                self.rider_of[order] = rider
        self._measure(rider)

    def planned_trips(self) -> Iterator[PlannedTrip]:
        """All trips with their start and cost terms, by rider and in sequence."""
        costs, problem = self._costs, self._problem
        for rider in sorted(self.trips):
            for index, trip in enumerate(self.trips[rider]):
                under_way = index == 0 and self.is_under_way(rider)
                spot = self._free_spots[rider][index]
                travel = 0.0 if under_way else spot.to_places[trip.place]
                starts_at = costs.first_start(rider, trip) if under_way else (
                    costs.start_after(trip, spot.free_at, travel)
                )  # fmt: skip
                free_at = problem.now if under_way else spot.free_at
                terms = costs.terms(rider, trip, starts_at, free_at, travel)
                after = self._free_spots[rider][index + 1]
                terms["end"] = costs.end_cost(rider, after) - costs.end_cost(rider, spot)
                is_firm = under_way or (
                    index == 0 and self._is_due(rider, starts_at - travel, spot.free_at)
                )
                yield PlannedTrip(rider, trip.stops, starts_at, is_firm, terms)

    def _is_due(self, rider: int, leave_at: float, free_at: float) -> bool:
        """Whether waiting for the next decision would delay the trip."""
        problem, tick = self._problem, self._problem.rules.tick
        decline_chance = 1 - float(problem.riders.acceptance_chance[rider])
        lead = self._costs.weights.decline_lead_minutes * decline_chance // tick * tick
        wait = leave_at - problem.rules.before_handover - problem.now
        return free_at <= problem.now and wait < tick + lead

    def _ensure_measured(self, rider: int) -> None:
        if rider not in self.trips:
            self.set_trips(rider, [])

    def _measure(self, rider: int) -> None:
        """Compute free spots and remaining costs along a rider's trips."""
        costs, trips = self._costs, self.trips[rider]
        self._cash_left[rider] = self._cash[rider] - sum(trip.cash for trip in trips)
        spots = [costs.free_spot_of(rider)]
        priced: list[float] = []
        for index, trip in enumerate(trips):
            spot = spots[-1]
            if index == 0 and self.is_under_way(rider):
                starts_at, travel, free_at = costs.first_start(rider, trip), 0.0, self._problem.now
            else:
                travel, free_at = spot.to_places[trip.place], spot.free_at
                starts_at = costs.start_after(trip, free_at, travel)
            priced.append(sum(costs.terms(rider, trip, starts_at, free_at, travel).values()))
            spots.append(costs.free_spot_after(rider, trip, starts_at))
        remaining = [costs.end_cost(rider, spots[-1])]
        for price in reversed(priced):
            remaining.append(remaining[-1] + price)
        self._free_spots[rider], self._remaining_costs[rider] = spots, remaining[::-1]

    def _cost_from(self, rider: int, trip_index: int, trips: list[Trip]) -> float:
        """Cost of these trips in place of all from `trip_index` on."""
        costs = self._costs
        if trip_index > 0 or not self.is_under_way(rider):
            return costs.cost_of_trips(rider, self._free_spots[rider][trip_index], trips)
        first = trips[0]
        starts_at = costs.first_start(rider, first)
        if starts_at + first.last_pickup > costs.until[rider]:
            return INFEASIBLE
        terms = costs.terms(rider, first, starts_at, self._problem.now, 0.0)
        after = costs.free_spot_after(rider, first, starts_at)
        return sum(terms.values()) + costs.cost_of_trips(rider, after, trips[1:])

    def _may_remove_order(self, rider: int, trip: Trip, shortened: list[Trip]) -> bool:
        """Whether an order may be taken from the trip that a rider is under way on.

        Picked-up goods stay with the rider. The rider still goes to its next stop, for an order
        that it has accepted, and what is left must not have been ready so early that the rider
        would have left by now.
        """
        is_carrying = len(trip.drops) * 2 > len(trip.stops)
        if not shortened or is_carrying or shortened[0].place != trip.place:
            return False
        if self._accepted_orders[rider].isdisjoint(shortened[0].drops):
            return False
        return self._costs.first_start(rider, shortened[0]) >= self._problem.now

    def _single_order_trip(self, rider: int, order: int) -> Trip:
        found = single_order_trip(self._problem, self._costs.travel_times[rider], order)
        self._single_order_trips[rider][order] = found
        return found

    def _has_capacity_for(self, rider: int, trip: Trip, order: int) -> bool:
        """Whether a rider can carry one more order on a trip."""
        kg = trip.kg + self._costs.order_lists.kg[order]
        return trip.count < self._capacity[rider] and kg <= self._kg[rider]

    def _may_combine(self, trip: Trip, order: int) -> bool:
        """Whether an order's goods may travel with those of a trip."""
        orders = self._costs.order_lists
        if trip.may_share and orders.may_share[order]:
            return True
        return trip.place == orders.place[order] and len(trip.places) == 1

    def _extend_trip(self, rider: int, trip: Trip, order: int) -> list[Trip]:
        """The trip with one more order, in every sequence of stops that is allowed."""
        orders = self._costs.order_lists
        key = (self._speed[rider], trip.stops, order)
        found = self._extended_trips.get(key)
        if found is None:
            travel_times = self._costs.travel_times[rider]
            found = [
                Trip(self._problem, travel_times, stops)
                for stops in _stops_with_order(orders.place, trip.stops, order)
            ]
            self._extended_trips[key] = found
        return found


def _stops_with_order(
    place: list[int], stops: tuple[Stop, ...], order: int
) -> Iterator[tuple[Stop, ...]]:
    """The stops with an order's pickup and drop-off among them; the first stop stays first."""
    pickup, drop = Stop(order, is_pickup=True), Stop(order, is_pickup=False)
    same_place = 0
    while stops[same_place].is_pickup and place[stops[same_place].order] == place[order]:
        same_place += 1
    # Where the trip begins at this place, the order is picked up there too.
    pickups = [same_place] if same_place else range(1, len(stops) + 1)
    for at in pickups:
        for end in range(at, len(stops) + 1):
            yield (*stops[:at], pickup, *stops[at:end], drop, *stops[end:])
