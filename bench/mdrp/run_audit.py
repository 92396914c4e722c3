"""What a run is worth: every time worked out again from what couriers were told, rules enforced.

It knows the rules of the library and nothing of how a run was decided or played.
"""

from collections import Counter
from math import ceil
from statistics import fmean
from typing import NamedTuple

from bench.mdrp.instances import (
    HALF_SERVICE,
    LATE,
    PAY_PER_HOUR,
    PAY_PER_ORDER,
    SERVICEABLE,
    WORST,
    Instance,
    Trip,
    floor_of,
    travel,
)

MINUTES_PER_HOUR = 60
PERCENT = 100


class Illegal(Exception):
    """The run breaks a rule; it is worth nothing."""


class Move(NamedTuple):
    """A courier's way from one named place to another. Units: minutes."""

    courier: int
    left_at: int
    start: str
    end: str


class Day(NamedTuple):
    """What really happened. Units: minutes, by order."""

    picked_at: dict[int, int]
    dropped_at: dict[int, int]
    courier_of: dict[int, int]
    moves: list[Move]


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


def happened(instance: Instance, trips: list[Trip]) -> Day:
    """The day as it was.

    Errors: Illegal where it breaks a rule.
    """
    at = [(courier.x, courier.y) for courier in instance.couriers]
    name = [courier.name for courier in instance.couriers]
    free_at = [courier.on for courier in instance.couriers]
    day = Day({}, {}, {}, [])
    for trip in sorted(trips, key=lambda trip: (trip.sent_at, trip.picked_at)):
        courier = trip.courier
        _check_told(instance, trip, free_at[courier], day)
        restaurant = instance.restaurants[instance.orders[trip.orders[0]].place]
        door = (restaurant.x, restaurant.y)
        arrived_at = trip.sent_at + travel(instance, at[courier], door)
        day.moves.append(Move(courier, trip.sent_at, name[courier], restaurant.name))
        _check_pickup(instance, trip, arrived_at)
        at[courier], name[courier] = door, restaurant.name
        now = trip.picked_at + HALF_SERVICE
        for row in trip.orders:
            order = instance.orders[row]
            day.moves.append(Move(courier, now, name[courier], order.name))
            now += travel(instance, at[courier], (order.x, order.y)) + HALF_SERVICE
            day.picked_at[row], day.dropped_at[row] = trip.picked_at, now
            day.courier_of[row] = courier
            if now - order.placed < floor_of(instance, order):
                raise Illegal(f"{order.name} arrives faster than anybody could bring it")
            at[courier], name[courier] = (order.x, order.y), order.name
            now += HALF_SERVICE
        free_at[courier] = now
    return day


def _check_told(instance: Instance, trip: Trip, free_at: int, day: Day) -> None:
    """Whether a courier could be told this."""
    who = instance.couriers[trip.courier].name
    if not trip.orders:
        raise Illegal(f"{who} is sent for nothing")
    if len({instance.orders[row].place for row in trip.orders}) > 1:
        raise Illegal(f"{who} has a bundle of several restaurants")
    for row in trip.orders:
        order = instance.orders[row]
        if row in day.dropped_at or trip.orders.count(row) > 1:
            raise Illegal(f"{order.name} is delivered twice")
        if trip.fixed_at < order.placed:
            raise Illegal(f"{order.name} is given to {who} before it is placed")
    if trip.sent_at < free_at:
        raise Illegal(f"{who} is sent before he is free")
    if not trip.sent_at <= trip.fixed_at <= trip.picked_at:
        raise Illegal(f"{who} is told of orders before he leaves or after the pickup")


def _check_pickup(instance: Instance, trip: Trip, arrived_at: int) -> None:
    """Whether the pickup is when it must be."""
    courier = instance.couriers[trip.courier]
    ready = max(instance.orders[row].ready for row in trip.orders)
    if trip.picked_at > courier.off:
        raise Illegal(f"{courier.name} picks up after his shift")
    if trip.picked_at < ready:
        raise Illegal(f"{courier.name} picks up before the food is ready")
    if trip.picked_at < arrived_at + HALF_SERVICE:
        raise Illegal(f"{courier.name} picks up before he is there")
    # Nobody leaves with a bundle before he is told what is in it.
    if trip.picked_at > max(ready, arrived_at + HALF_SERVICE, trip.fixed_at):
        raise Illegal(f"{courier.name} picks up later than he would")


def judge(instance: Instance, trips: list[Trip]) -> Figures:
    """The figures of a run.

    Errors: Illegal where it breaks a rule.
    """
    day = happened(instance, trips)
    floors = [floor_of(instance, order) for order in instance.orders]
    counted = [row for row, floor in enumerate(floors) if floor <= SERVICEABLE]
    took = [_took(instance, day, row) for row in counted]
    over = [min(took, WORST) - floors[row] for row, took in zip(counted, took, strict=True)]
    ready_to_pickup = [
        day.picked_at[row] - instance.orders[row].ready for row in counted if row in day.picked_at
    ]
    return Figures(
        orders=len(counted),
        set_aside=len(floors) - len(counted),
        E=fmean(over),
        undelivered=_percent([row not in day.dropped_at for row in counted]),
        late=_percent([each > LATE for each in took]),
        click_to_door=fmean(took),
        p90=sorted(took)[ceil(0.9 * len(took)) - 1],
        ready_to_pickup=fmean(ready_to_pickup) if ready_to_pickup else 0.0,
        cost_per_order=_pay(instance, day) / max(1, len(day.dropped_at)),
        orders_per_bundle=len(day.dropped_at) / max(1, len(trips)),
    )


def _took(instance: Instance, day: Day, row: int) -> int:
    """From click to door; the worst there is for an order that never came."""
    if row not in day.dropped_at:
        return WORST
    return day.dropped_at[row] - instance.orders[row].placed


def _percent(which: list[bool]) -> float:
    return PERCENT * sum(which) / len(which)


def _pay(instance: Instance, day: Day) -> float:
    """What the couriers earn: by order, and at least by hour."""
    carried = Counter(day.courier_of.values())
    return sum(
        max(
            PAY_PER_ORDER * carried[row],
            PAY_PER_HOUR * (courier.off - courier.on) / MINUTES_PER_HOUR,
        )
        for row, courier in enumerate(instance.couriers)
    )
