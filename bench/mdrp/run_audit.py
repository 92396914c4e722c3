"""What a run is worth: every time worked out again from what couriers were told, rules enforced.

It knows the rules of the library and nothing of how a run was decided or played.
"""

from collections import Counter
from math import ceil
from statistics import fmean
from typing import NamedTuple

from bench.mdrp.instances import (
    HALF_SERVICE_MINUTES,
    LATE_MINUTES,
    PAY_PER_HOUR,
    PAY_PER_ORDER,
    SERVICEABLE_MINUTES,
    WORST_MINUTES,
    ExecutedTrip,
    Instance,
    fastest_delivery_minutes,
    travel_minutes,
)

MINUTES_PER_HOUR = 60
PERCENT = 100


class RuleViolation(Exception):
    """The run breaks a rule; it is worth nothing."""


class CourierMove(NamedTuple):
    """A courier's way from one named place to another. Units: minutes."""

    courier: int
    left_at: int
    start: str
    end: str


class AuditedDay(NamedTuple):
    """What really happened. Units: minutes, by order."""

    picked_at: dict[int, int]
    dropped_at: dict[int, int]
    courier_of: dict[int, int]
    moves: list[CourierMove]


class Figures(NamedTuple):
    """What a run is worth. Units: minutes, percent, the library's money."""

    orders: int
    set_aside: int
    E: float
    undelivered: float
    late: float
    click_to_door: float
    p90: float
    ready_to_pickup: float
    cost_per_order: float
    orders_per_bundle: float


def reconstruct_day(instance: Instance, trips: list[ExecutedTrip]) -> AuditedDay:
    """The day as it was.

    Errors: Illegal where it breaks a rule.
    """
    at = [(courier.x, courier.y) for courier in instance.couriers]
    name = [courier.name for courier in instance.couriers]
    free_at = [courier.on_time for courier in instance.couriers]
    day = AuditedDay({}, {}, {}, [])
    for trip in sorted(trips, key=lambda trip: (trip.sent_at, trip.picked_at)):
        courier = trip.courier
        _check_assignment(instance, trip, free_at[courier], day)
        restaurant = instance.restaurants[instance.orders[trip.orders[0]].place]
        door = (restaurant.x, restaurant.y)
        arrived_at = trip.sent_at + travel_minutes(instance, at[courier], door)
        day.moves.append(CourierMove(courier, trip.sent_at, name[courier], restaurant.name))
        _check_pickup(instance, trip, arrived_at)
        at[courier], name[courier] = door, restaurant.name
        now = trip.picked_at + HALF_SERVICE_MINUTES
        for row in trip.orders:
            order = instance.orders[row]
            day.moves.append(CourierMove(courier, now, name[courier], order.name))
            now += travel_minutes(instance, at[courier], (order.x, order.y)) + HALF_SERVICE_MINUTES
            day.picked_at[row], day.dropped_at[row] = trip.picked_at, now
            day.courier_of[row] = courier
            if now - order.placed < fastest_delivery_minutes(instance, order):
                raise RuleViolation(f"{order.name} arrives faster than anybody could bring it")
            at[courier], name[courier] = (order.x, order.y), order.name
            now += HALF_SERVICE_MINUTES
        free_at[courier] = now
    return day


def _check_assignment(
    instance: Instance, trip: ExecutedTrip, free_at: int, day: AuditedDay
) -> None:
    """Whether a courier could be told this."""
    who = instance.couriers[trip.courier].name
    if not trip.orders:
        raise RuleViolation(f"{who} is sent for nothing")
    if len({instance.orders[row].place for row in trip.orders}) > 1:
        raise RuleViolation(f"{who} has a bundle of several restaurants")
    for row in trip.orders:
        order = instance.orders[row]
        if row in day.dropped_at or trip.orders.count(row) > 1:
            raise RuleViolation(f"{order.name} is delivered twice")
        if trip.fixed_at < order.placed:
            raise RuleViolation(f"{order.name} is given to {who} before it is placed")
    if trip.sent_at < free_at:
        raise RuleViolation(f"{who} is sent before he is free")
    if not trip.sent_at <= trip.fixed_at <= trip.picked_at:
        raise RuleViolation(f"{who} is told of orders before he leaves or after the pickup")


def _check_pickup(instance: Instance, trip: ExecutedTrip, arrived_at: int) -> None:
    """Whether the pickup is when it must be."""
    courier = instance.couriers[trip.courier]
    ready = max(instance.orders[row].ready for row in trip.orders)
    if trip.picked_at > courier.off_time:
        raise RuleViolation(f"{courier.name} picks up after his shift")
    if trip.picked_at < ready:
        raise RuleViolation(f"{courier.name} picks up before the food is ready")
    if trip.picked_at < arrived_at + HALF_SERVICE_MINUTES:
        raise RuleViolation(f"{courier.name} picks up before he is there")
    # Nobody leaves with a bundle before he is told what is in it.
    if trip.picked_at > max(ready, arrived_at + HALF_SERVICE_MINUTES, trip.fixed_at):
        raise RuleViolation(f"{courier.name} picks up later than he would")


def score_run(instance: Instance, trips: list[ExecutedTrip]) -> Figures:
    """The figures of a run.

    Errors: Illegal where it breaks a rule.
    """
    day = reconstruct_day(instance, trips)
    floors = [fastest_delivery_minutes(instance, order) for order in instance.orders]
    counted = [row for row, floor in enumerate(floors) if floor <= SERVICEABLE_MINUTES]
    took = [_click_to_door(instance, day, row) for row in counted]
    over = [min(took, WORST_MINUTES) - floors[row] for row, took in zip(counted, took, strict=True)]
    ready_to_pickup = [
        day.picked_at[row] - instance.orders[row].ready for row in counted if row in day.picked_at
    ]
    return Figures(
        orders=len(counted),
        set_aside=len(floors) - len(counted),
        E=fmean(over),
        undelivered=_percent([row not in day.dropped_at for row in counted]),
        late=_percent([each > LATE_MINUTES for each in took]),
        click_to_door=fmean(took),
        p90=sorted(took)[ceil(0.9 * len(took)) - 1],
        ready_to_pickup=fmean(ready_to_pickup) if ready_to_pickup else 0.0,
        cost_per_order=_courier_pay(instance, day) / max(1, len(day.dropped_at)),
        orders_per_bundle=len(day.dropped_at) / max(1, len(trips)),
    )


def _click_to_door(instance: Instance, day: AuditedDay, row: int) -> int:
    """From click to door; the worst there is for an order that never came."""
    if row not in day.dropped_at:
        return WORST_MINUTES
    return day.dropped_at[row] - instance.orders[row].placed


def _percent(flags: list[bool]) -> float:
    return PERCENT * sum(flags) / len(flags)


def _courier_pay(instance: Instance, day: AuditedDay) -> float:
    """What the couriers earn: by order, and at least by hour."""
    carried = Counter(day.courier_of.values())
    return sum(
        max(
            PAY_PER_ORDER * carried[row],
            PAY_PER_HOUR * (courier.off_time - courier.on_time) / MINUTES_PER_HOUR,
        )
        for row, courier in enumerate(instance.couriers)
    )
