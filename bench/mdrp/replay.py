"""Replay of an instance's day, minute by minute: a policy decides, couriers follow."""

import time
from collections.abc import Callable
from math import inf
from typing import NamedTuple

import numpy as np

from bench.mdrp.answers import AnswerHistory, is_declined
from bench.mdrp.instances import (
    HALF_SERVICE_MINUTES,
    WORST_MINUTES,
    ExecutedTrip,
    Instance,
    travel_minutes,
)
from matching.problem import (
    ANY_VEHICLE,
    NO_ZONE,
    CommittedRider,
    Orders,
    Places,
    Plan,
    PlannedTrip,
    Problem,
    Riders,
    Rules,
    Stop,
)

# Couriers who are free, or begin their shift, within this time are part of a decision.
LOOKAHEAD_MINUTES = 60
# Orders in one bundle at most.
# Source: chosen; bundles of three and more are one in a thousand.
BUNDLE_MAX = 4
# How long a courier who declines is not available. Units: minutes.
DECLINE_MINUTES = 1


class ReplayOptions(NamedTuple):
    """How an instance is replayed: by which policy, with what share of declines and known times."""

    solve: Callable[[Problem], Plan]
    decline_share: float = 0.0
    uses_mean_prep: bool = False
    seed: int = 1


class ReplayResult(NamedTuple):
    """The executed trips of a day, and how long its decisions took. Units: seconds."""

    trips: list[ExecutedTrip]
    decision_s: list[float]
    offered: int
    declined: int


class _Bundle(NamedTuple):
    """A courier's orders from being sent until the pickup. Units: minutes."""

    sent_at: int
    fixed_at: int
    arrives_at: int
    orders: tuple[int, ...]


class _ReplayState:
    """Couriers and orders as the decisions see them. Units: metres, minutes."""

    def __init__(self, instance: Instance, options: ReplayOptions) -> None:
        self.instance = instance
        self.options = options
        self.rules = Rules(
            HALF_SERVICE_MINUTES,
            HALF_SERVICE_MINUTES,
            rounds_up_minutes=True,
            lost_after=WORST_MINUTES,
        )
        self.positions = [(courier.x, courier.y) for courier in instance.couriers]
        self.free_at = [courier.on_time for courier in instance.couriers]
        self.under_way: dict[int, _Bundle] = {}
        self.open_orders: list[int] = []
        self.blocked: set[tuple[int, int]] = set()
        self.demand = np.zeros(len(instance.restaurants))
        self.answer_history = AnswerHistory()
        self.result = ReplayResult([], [], 0, 0)
        preps = [order.ready - order.placed for order in instance.orders]
        self.mean_prep = sum(preps) / max(1, len(preps))

    def place_orders(self, orders: list[int]) -> None:
        """Add newly placed orders."""
        for order in orders:
            self.open_orders.append(order)
            self.demand[self.instance.orders[order].place] += 1

    def decide(self, now: int) -> None:
        """Run the policy and send couriers on the firm trips of its plan."""
        couriers = [
            courier
            for courier, shift in enumerate(self.instance.couriers)
            if courier in self.under_way
            or (
                shift.off_time >= now
                and max(self.free_at[courier], now) <= min(shift.off_time, now + LOOKAHEAD_MINUTES)
            )
        ]
        problem = self.build_problem(now, couriers)
        began = time.perf_counter()
        plan = self.options.solve(problem)
        self.result.decision_s.append(time.perf_counter() - began)
        for trip in plan.trips:
            if trip.is_firm:
                self._send_courier(now, couriers[trip.rider], trip)

    def build_problem(self, now: int, couriers: list[int]) -> Problem:
        """The decision's input, as the server would build it."""
        row = {courier: i for i, courier in enumerate(couriers)}
        order_row = {order: i for i, order in enumerate(self.open_orders)}
        committed = [
            CommittedRider(
                row[courier],
                _stops([order_row[order] for order in bundle.orders]),
                bundle.arrives_at,
            )
            for courier, bundle in self.under_way.items()
        ]
        blocked: dict[int, list[int]] = {}
        for courier, order in sorted(self.blocked):
            if courier in row and order in order_row:
                blocked.setdefault(order_row[order], []).append(row[courier])
        restaurants = self.instance.restaurants
        places = Places(
            np.array([each.x for each in restaurants]),
            np.array([each.y for each in restaurants]),
            self.demand,
        )
        riders, orders = self._riders(now, couriers), self._orders(now)
        return Problem(float(now), riders, orders, places, committed, blocked, self.rules)

    def _riders(self, now: int, couriers: list[int]) -> Riders:
        shifts = [self.instance.couriers[courier] for courier in couriers]
        after = [self._free_after(now, courier) for courier in couriers]
        count, speed = len(couriers), self.instance.metres_per_minute
        return Riders(
            x=np.array([at[0] for at, _ in after]),
            y=np.array([at[1] for at, _ in after]),
            free_at=np.array([float(max(now, free_at)) for _, free_at in after]),
            until=np.array([float(each.off_time) for each in shifts]),
            speed=np.full(count, speed),
            capacity=np.full(count, BUNDLE_MAX),
            kg=np.full(count, inf),
            cash=np.full(count, inf),
            vehicle=np.full(count, ANY_VEHICLE),
            zone=np.full(count, NO_ZONE),
            acceptance_chance=np.array(
                [self.answer_history.acceptance_chance(courier) for courier in couriers]
            ),
            completion=np.full(count, np.nan),
            rating=np.full(count, np.nan),
            active=np.zeros(count),
        )

    def _orders(self, now: int) -> Orders:
        orders = [self.instance.orders[order] for order in self.open_orders]
        count = len(orders)
        return Orders(
            place=np.array([each.place for each in orders], dtype=np.int64),
            x=np.array([each.x for each in orders]),
            y=np.array([each.y for each in orders]),
            placed=np.array([float(each.placed) for each in orders]),
            ready=np.array([float(self.expected_ready(now, order)) for order in self.open_orders]),
            kg=np.zeros(count),
            cash=np.zeros(count),
            vehicles=np.full(count, ANY_VEHICLE),
            zone=np.full(count, NO_ZONE),
            may_share=np.zeros(count, dtype=np.bool_),
        )

    def expected_ready(self, now: int, order: int) -> float:
        """When the food is expected to be ready: the true time, or one by the mean of all orders.

        Units: minutes.
        """
        facts = self.instance.orders[order]
        if not self.options.uses_mean_prep or facts.ready <= now:
            return facts.ready
        return max(now + 1, round(facts.placed + self.mean_prep))

    def _free_after(self, now: int, courier: int) -> tuple[tuple[float, float], int]:
        """Where and when a courier is free if nothing changes."""
        bundle = self.under_way.get(courier)
        if bundle is None:
            return self.positions[courier], self.free_at[courier]
        ready = max(self.expected_ready(now, order) for order in bundle.orders)
        starts_at = int(max(ready, bundle.arrives_at + HALF_SERVICE_MINUTES, now))
        return _free_after_drops(self.instance, bundle.orders, starts_at)

    def _send_courier(self, now: int, courier: int, trip: PlannedTrip) -> None:
        """Send a courier, or change the bundle of one under way."""
        before = self.under_way.get(courier)
        orders = tuple(self.open_orders[row] for row in trip.orders)
        known = before.orders if before else ()
        declined = {
            order for order in orders if order not in known and self._declines(courier, order)
        }
        orders = tuple(order for order in orders if order not in declined)
        self.blocked |= {(courier, order) for order in declined}
        if before is None and not orders:
            self.free_at[courier] = now + DECLINE_MINUTES
        elif before is None:
            restaurant = self.instance.restaurants[self.instance.orders[orders[0]].place]
            travel = travel_minutes(
                self.instance, self.positions[courier], (restaurant.x, restaurant.y)
            )
            self.under_way[courier] = _Bundle(now, now, now + travel, orders)
        elif orders != before.orders:
            self.under_way[courier] = before._replace(fixed_at=now, orders=orders)

    def _declines(self, courier: int, order: int) -> bool:
        """Draw and record a courier's answer to an offer; the same pair always answers alike."""
        share, seed = self.options.decline_share, self.options.seed
        if not share:
            return False
        declines = is_declined(self.instance, share, seed, courier, order)
        self.answer_history.record_answer(courier, accepted=not declines)
        self.result = self.result._replace(
            offered=self.result.offered + 1, declined=self.result.declined + declines
        )
        return declines

    def pick_up_ready(self, now: int) -> None:
        """Let couriers pick up who are at the restaurant and whose bundle is ready."""
        for courier, bundle in list(self.under_way.items()):
            ready = max(self.instance.orders[order].ready for order in bundle.orders)
            # A bundle may be ready already if its last order moved to a courier who then declined.
            picked_at = max(ready, bundle.arrives_at + HALF_SERVICE_MINUTES, bundle.fixed_at)
            if picked_at > now:
                continue
            del self.under_way[courier]
            self.open_orders = [order for order in self.open_orders if order not in bundle.orders]
            self.result.trips.append(
                ExecutedTrip(courier, bundle.sent_at, bundle.fixed_at, picked_at, bundle.orders)
            )
            self.positions[courier], self.free_at[courier] = _free_after_drops(
                self.instance, bundle.orders, picked_at
            )


def replay_day(instance: Instance, options: ReplayOptions) -> ReplayResult:
    """Replay the day; the same options give the same trips, only `decision_s` varies."""
    state = _ReplayState(instance, options)
    placed: dict[int, list[int]] = {}
    for row, order in enumerate(instance.orders):
        placed.setdefault(order.placed, []).append(row)
    end = max([*placed, *(courier.off_time for courier in instance.couriers)]) + 1
    for now in range(min(placed), end + 1):
        state.place_orders(placed.get(now, []))
        if state.open_orders:
            state.decide(now)
            state.pick_up_ready(now)
    return state.result


def _stops(orders: list[int]) -> tuple[Stop, ...]:
    return (
        *(Stop(order, is_pickup=True) for order in orders),
        *(Stop(order, is_pickup=False) for order in orders),
    )


def _free_after_drops(
    instance: Instance, orders: tuple[int, ...], picked_at: int
) -> tuple[tuple[float, float], int]:
    """Where and when the courier of a bundle is free."""
    restaurant = instance.restaurants[instance.orders[orders[0]].place]
    at, now = (restaurant.x, restaurant.y), picked_at + HALF_SERVICE_MINUTES
    for order in orders:
        door = (instance.orders[order].x, instance.orders[order].y)
        now += travel_minutes(instance, at, door) + 2 * HALF_SERVICE_MINUTES
        at = door
    return at, now
