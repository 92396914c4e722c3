"""Builds the matching problem of a batch: riders, orders and places as columns: pure."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple

import numpy as np

from dispatch.model import Order, PaymentMethod
from dispatch.orders.batch.batch_input import (
    BatchInput,
    LatLngPair,
    is_undecided,
    pickup_place_of,
)
from dispatch.orders.batch.plane import PlaneProjection
from dispatch.orders.batch.rider_rows import ExcludedRider, RiderRow, RiderRows
from dispatch.orders.transitions import waves
from dispatch.orders.transitions.context import dispatch_of
from dispatch.orders.units import MINUTE_MS
from matching.acceptance import acceptance_chance
from matching.eta import load_kg
from matching.prep_times import FadedSum
from matching.problem import (
    ANY_VEHICLE,
    NO_ZONE,
    CommittedRider,
    Floats,
    Orders,
    Places,
    Problem,
    Riders,
    Rules,
    Stop,
)

# How long after its offer a rider who accepts is on its way at the latest. Units: minutes.
# Source: docs/decisions/0015-batch-mode-per-zone.md, chosen; three glances at the phone. A minute
# of waiting at the pickup costs 0.15 of a minute by which the goods are late, so the late answers
# count and not the usual ones.
ANSWER_MINUTES = 0.5
# Places without an open order that are part of the problem because orders often come from there.
# Source: chosen.
DEMAND_PLACES_MAX = 200
# An accepted order is taken from its rider only if it gains this much. Units: minutes.
# Source: docs/decisions/0015-batch-mode-per-zone.md, chosen: what a rider and
# a customer will accept.
REASSIGN_GAIN_MINUTES = 3.0


class BatchProblem(NamedTuple):
    """A matching problem, the riders and orders its rows stand for, and the excluded riders."""

    problem: Problem
    riders: Sequence[RiderRow]
    orders: Sequence[Order]
    excluded: Sequence[ExcludedRider]


def build_problem(batch_input: BatchInput) -> BatchProblem:
    """The matching problem of a batch. Shapes and Units: as in `matching.problem`."""
    plane = PlaneProjection([order.pickup for order in batch_input.orders])
    rules = _rules(batch_input)
    riders, excluded = RiderRows(batch_input, plane, rules).build()
    orders = [
        order for order in batch_input.orders if is_undecided(order, batch_input.batched_services)
    ]
    orders += [stop.order for row in riders for stop in row.stops if stop.is_pickup]
    columns = _Columns(batch_input, plane)
    places = _places(batch_input, orders)
    problem = Problem(
        now=0.0,
        riders=columns.riders(riders),
        orders=columns.orders(orders, places),
        places=columns.places(places),
        committed=_committed_riders(riders, orders),
        blocked=_blocked_riders(batch_input, riders, orders),
        rules=rules,
    )
    return BatchProblem(problem, riders, orders, excluded)


def _rules(batch_input: BatchInput) -> Rules:
    every_ms = max(
        batch_input.policies[service].batch_every_ms for service in batch_input.batched_services
    )
    return Rules(
        tick=every_ms * batch_input.time_scale / MINUTE_MS + ANSWER_MINUTES,
        reassignment_threshold=REASSIGN_GAIN_MINUTES,
    )


def _places(batch_input: BatchInput, orders: Sequence[Order]) -> dict[LatLngPair, int]:
    """The row of each place: those of the orders first, then those of the highest demand."""
    demand = batch_input.demand
    usual = sorted(demand, key=lambda place: (-demand[place], place))[:DEMAND_PLACES_MAX]
    distinct = dict.fromkeys([*(pickup_place_of(order) for order in orders), *usual])
    return {place: row for row, place in enumerate(distinct)}


def _committed_riders(riders: Sequence[RiderRow], orders: Sequence[Order]) -> list[CommittedRider]:
    row_by_order_id = {order.order_id: row for row, order in enumerate(orders)}
    return [
        CommittedRider(
            row,
            tuple(
                Stop(row_by_order_id[order.order_id], is_pickup) for order, is_pickup in rider.stops
            ),
            rider.arrives_at,
        )
        for row, rider in enumerate(riders)
        if rider.stops
    ]


def _blocked_riders(
    batch_input: BatchInput, riders: Sequence[RiderRow], orders: Sequence[Order]
) -> dict[int, list[int]]:
    """The riders whom each order must not ask again yet, by rows."""
    row_by_rider_id = {row.rider.rider_id: number for number, row in enumerate(riders)}
    blocked: dict[int, list[int]] = {}
    for row, order in enumerate(orders):
        dispatch, policy = dispatch_of(order), batch_input.policies[order.order_type]
        for rider_id in dispatch.asked.keys() & row_by_rider_id.keys():
            if not waves.may_ask_again(dispatch, rider_id, batch_input.now_ms, policy):
                blocked.setdefault(row, []).append(row_by_rider_id[rider_id])
    return blocked


class _Columns:
    """Turns rows into the columns of a matching problem."""

    def __init__(self, batch_input: BatchInput, plane: PlaneProjection) -> None:
        self._input = batch_input
        self._plane = plane

    def riders(self, rows: Sequence[RiderRow]) -> Riders:
        riders, unknown = [row.rider for row in rows], FadedSum()
        answers = [self._input.answers.get(rider.rider_id, unknown) for rider in riders]
        untils = [
            inf if rider.until_ms is None else self._input.minutes_from_now(rider.until_ms)
            for rider in riders
        ]
        return Riders(
            x=_floats(row.free_point[0] for row in rows),
            y=_floats(row.free_point[1] for row in rows),
            free_at=_floats(row.free_at for row in rows),
            until=_floats(untils),
            speed=_floats(self._input.speed_m_per_minute(rider) for rider in riders),
            capacity=np.array([rider.capacity for rider in riders], dtype=np.int64),
            kg=_floats(load_kg(rider.vehicle) for rider in riders),
            cash=_floats(rider.cash_headroom_xaf for rider in riders),
            vehicle=np.full(len(rows), ANY_VEHICLE),
            zone=np.full(len(rows), NO_ZONE),
            acceptance_chance=_floats(
                acceptance_chance(each.total, each.weight) for each in answers
            ),
            completion=_floats(_or_nan(rider.completion) for rider in riders),
            rating=_floats(_or_nan(rider.rating) for rider in riders),
            active=_floats(rider.active for rider in riders),
        )

    def orders(self, orders: Sequence[Order], places: Mapping[LatLngPair, int]) -> Orders:
        dropoffs = [self._plane.point_of(order.dropoff) for order in orders]
        return Orders(
            place=np.array([places[pickup_place_of(order)] for order in orders], dtype=np.int64),
            x=_floats(x for x, _ in dropoffs),
            y=_floats(y for _, y in dropoffs),
            placed=_floats(self._input.minutes_from_now(order.created_at) for order in orders),
            ready=_floats(self._input.ready_minutes(order) for order in orders),
            kg=_floats(order.parcel.weight if order.parcel else 0.0 for order in orders),
            cash=_floats(_cash_to_collect_xaf(order) for order in orders),
            vehicles=np.full(len(orders), ANY_VEHICLE),
            zone=np.full(len(orders), NO_ZONE),
            may_share=np.array([order.order_type != "FOOD" for order in orders], dtype=np.bool_),
        )

    def places(self, places: Iterable[LatLngPair]) -> Places:
        rows = list(places)
        points = [self._plane.point(*place) for place in rows]
        demand = _floats(self._input.demand.get(place, 0.0) for place in rows)
        return Places(_floats(x for x, _ in points), _floats(y for _, y in points), demand)


def _cash_to_collect_xaf(order: Order) -> float:
    """The cash that still needs headroom; that of an accepted order is reserved already."""
    if order.payment.method is not PaymentMethod.CASH or order.rider_id is not None:
        return 0.0
    return float(order.pricing.total)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _floats(values: Iterable[float]) -> Floats:
    return np.array(list(values), dtype=np.float64)
