"""A day of an instance, minute by minute: the policy decides, couriers do as they are told."""

import hashlib
import time
from collections.abc import Callable
from math import inf
from typing import NamedTuple

import numpy as np

from bench.mdrp.instances import (
    HALF_SERVICE_MINUTES,
    WORST_MINUTES,
    ExecutedTrip,
    Instance,
    travel_minutes,
)
from matching.acceptance import AnswerHistory
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

# Couriers who are free, or begin, within so many minutes are part of a decision.
LOOKAHEAD_MINUTES = 60
# Orders in one bundle at most.
# Source: own choice; bundles of three and more are one in a thousand.
BUNDLE_MAX = 4
# What a courier who says no costs him and the order. Units: minutes.
DECLINE_MINUTES = 1


class ReplayOptions(NamedTuple):
    """How an instance is played: what is decided by, who says no, whether times are known."""

    solve: Callable[[Problem], Plan]
    decline_share: float = 0.0
    uses_mean_prep: bool = False
    seed: int = 1


class ReplayResult(NamedTuple):
    """All that was decided, and how long the decisions took."""

    trips: list[ExecutedTrip]
    decision_s: list[float]
    offered: int
    declined: int


class _Bundle(NamedTuple):
    """A courier's trip until he picks up."""

    sent_at: int
    fixed_at: int
    arrives_at: int
    orders: tuple[int, ...]


class _ReplayState:
    """Where everybody is, as the decisions have it."""

    def __init__(self, instance: Instance, choice: ReplayOptions) -> None:
        self.instance = instance
        self.options = choice
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
        """Customers order."""
        for order in orders:
            self.open_orders.append(order)
            self.demand[self.instance.orders[order].place] += 1

    def decide(self, now: int) -> None:
        """Ask the policy, tell the couriers."""
        couriers = [
            courier
            for courier, who in enumerate(self.instance.couriers)
            if courier in self.under_way
            or (
                who.off_time >= now
                and max(self.free_at[courier], now) <= min(who.off_time, now + LOOKAHEAD_MINUTES)
            )
        ]
        problem = self.build_problem(now, couriers)
        began = time.perf_counter()
        plan = self.options.solve(problem)
        self.result.decision_s.append(time.perf_counter() - began)
        for task in plan.trips:
            if task.is_firm:
                self._send_courier(now, couriers[task.rider], task)

    def build_problem(self, now: int, couriers: list[int]) -> Problem:
        """The facts as the server would have them."""
        row = {courier: i for i, courier in enumerate(couriers)}
        order_row = {order: i for i, order in enumerate(self.open_orders)}
        bound = [
            CommittedRider(
                row[courier], _stops([order_row[order] for order in b.orders]), b.arrives_at
            )
            for courier, b in self.under_way.items()
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
        return Problem(float(now), riders, orders, places, bound, blocked, self.rules)

    def _riders(self, now: int, couriers: list[int]) -> Riders:
        who = [self.instance.couriers[courier] for courier in couriers]
        after = [self._free_after(now, courier) for courier in couriers]
        count, speed = len(couriers), self.instance.metres_per_minute
        return Riders(
            x=np.array([at[0] for at, _ in after]),
            y=np.array([at[1] for at, _ in after]),
            free_at=np.array([float(max(now, free_at)) for _, free_at in after]),
            until=np.array([float(each.off_time) for each in who]),
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
        what = [self.instance.orders[order] for order in self.open_orders]
        count = len(what)
        return Orders(
            place=np.array([each.place for each in what], dtype=np.int64),
            x=np.array([each.x for each in what]),
            y=np.array([each.y for each in what]),
            placed=np.array([float(each.placed) for each in what]),
            ready=np.array([float(self.expected_ready(now, order)) for order in self.open_orders]),
            kg=np.zeros(count),
            cash=np.zeros(count),
            vehicles=np.full(count, ANY_VEHICLE),
            zone=np.full(count, NO_ZONE),
            may_share=np.zeros(count, dtype=np.bool_),
        )

    def expected_ready(self, now: int, order: int) -> float:
        """When the food is ready as far as is known: for certain, or by the mean of all."""
        what = self.instance.orders[order]
        if not self.options.uses_mean_prep or what.ready <= now:
            return what.ready
        return max(now + 1, round(what.placed + self.mean_prep))

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
        said_no = {
            order for order in orders if order not in known and self._declines(courier, order)
        }
        orders = tuple(order for order in orders if order not in said_no)
        self.blocked |= {(courier, order) for order in said_no}
        if before is None and not orders:
            self.free_at[courier] = now + DECLINE_MINUTES
        elif before is None:
            restaurant = self.instance.restaurants[self.instance.orders[orders[0]].place]
            way = travel_minutes(
                self.instance, self.positions[courier], (restaurant.x, restaurant.y)
            )
            self.under_way[courier] = _Bundle(now, now, now + way, orders)
        elif orders != before.orders:
            self.under_way[courier] = before._replace(fixed_at=now, orders=orders)

    def _declines(self, courier: int, order: int) -> bool:
        """Whether a courier says no to an order; always the same to the same."""
        if not self.options.decline_share:
            return False
        text = f"{self.options.seed} {self.instance.couriers[courier].name} "
        text += self.instance.orders[order].name
        dice = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64
        says_no = dice < self.options.decline_share
        self.answer_history.record_answer(courier, accepted=not says_no)
        self.result = self.result._replace(
            offered=self.result.offered + 1, declined=self.result.declined + says_no
        )
        return says_no

    def pick_up_ready(self, now: int) -> None:
        """Couriers who can pick up do so."""
        for courier, bundle in list(self.under_way.items()):
            ready = max(self.instance.orders[order].ready for order in bundle.orders)
            # A bundle that lost its last meal to a rider who then said no may be ready already.
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
    """Play the day. Deterministic but for the times that decisions took."""
    city = _ReplayState(instance, options)
    placed: dict[int, list[int]] = {}
    for row, order in enumerate(instance.orders):
        placed.setdefault(order.placed, []).append(row)
    end = max([*placed, *(courier.off_time for courier in instance.couriers)]) + 1
    for now in range(min(placed), end + 1):
        city.place_orders(placed.get(now, []))
        if city.open_orders:
            city.decide(now)
            city.pick_up_ready(now)
    return city.result


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
