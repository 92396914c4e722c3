"""Audit and score of a run: computes every time again from the instructions, enforces the rules.

It knows the rules of the library and nothing of how a run was decided or replayed.
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
    """The run breaks a rule of the library and has no score."""


class CourierMove(NamedTuple):
    """A courier's drive from one named place to another. Units: minutes."""

    courier: int
    left_at: int
    start: str
    end: str


class AuditedDay(NamedTuple):
    """Pickups, drop-offs and drives of a day, as reconstructed. Units: minutes, by order."""

    picked_at: dict[int, int]
    dropped_at: dict[int, int]
    courier_of: dict[int, int]
    moves: list[CourierMove]


class Figures(NamedTuple):
    """Score of a run. Units: minutes, percent, the library's money."""

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
    """Compute the times of a day from the couriers' instructions.

    Errors: RuleViolation where it breaks a rule.
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
                raise RuleViolation(
                    f"{order.name} arrives faster than any courier could deliver it"
                )
            at[courier], name[courier] = (order.x, order.y), order.name
            now += HALF_SERVICE_MINUTES
        free_at[courier] = now
    return day


def _check_assignment(
    instance: Instance, trip: ExecutedTrip, free_at: int, day: AuditedDay
) -> None:
    """Check the instructions of a trip."""
    name = instance.couriers[trip.courier].name
    if not trip.orders:
        raise RuleViolation(f"{name} is sent without an order")
    if len({instance.orders[row].place for row in trip.orders}) > 1:
        raise RuleViolation(f"{name} has a bundle of several restaurants")
    for row in trip.orders:
        order = instance.orders[row]
        if row in day.dropped_at or trip.orders.count(row) > 1:
            raise RuleViolation(f"{order.name} is delivered twice")
        if trip.fixed_at < order.placed:
            raise RuleViolation(f"{order.name} is given to {name} before it is placed")
    if trip.sent_at < free_at:
        raise RuleViolation(f"{name} is sent before it is free")
    if not trip.sent_at <= trip.fixed_at <= trip.picked_at:
        raise RuleViolation(f"{name} gets orders before it leaves or after the pickup")


def _check_pickup(instance: Instance, trip: ExecutedTrip, arrived_at: int) -> None:
    """Check the time of a pickup."""
    courier = instance.couriers[trip.courier]
    ready = max(instance.orders[row].ready for row in trip.orders)
    if trip.picked_at > courier.off_time:
        raise RuleViolation(f"{courier.name} picks up after its shift")
    if trip.picked_at < ready:
        raise RuleViolation(f"{courier.name} picks up before the food is ready")
    if trip.picked_at < arrived_at + HALF_SERVICE_MINUTES:
        raise RuleViolation(f"{courier.name} picks up before it arrives")
    # A courier does not leave before its bundle is complete.
    if trip.picked_at > max(ready, arrived_at + HALF_SERVICE_MINUTES, trip.fixed_at):
        raise RuleViolation(f"{courier.name} picks up later than possible")


def score_run(instance: Instance, trips: list[ExecutedTrip]) -> Figures:
    """Score a run. Units: minutes, percent, the library's money.

    Errors: RuleViolation where it breaks a rule.
    """
    day = reconstruct_day(instance, trips)
    fastest = [fastest_delivery_minutes(instance, order) for order in instance.orders]
    counted = [row for row, floor in enumerate(fastest) if floor <= SERVICEABLE_MINUTES]
    durations = [_click_to_door(instance, day, row) for row in counted]
    delays = [
        min(duration, WORST_MINUTES) - fastest[row]
        for row, duration in zip(counted, durations, strict=True)
    ]
    ready_to_pickup = [
        day.picked_at[row] - instance.orders[row].ready for row in counted if row in day.picked_at
    ]
    return Figures(
        orders=len(counted),
        set_aside=len(fastest) - len(counted),
        E=fmean(delays),
        undelivered=_percent([row not in day.dropped_at for row in counted]),
        late=_percent([each > LATE_MINUTES for each in durations]),
        click_to_door=fmean(durations),
        p90=sorted(durations)[ceil(0.9 * len(durations)) - 1],
        ready_to_pickup=fmean(ready_to_pickup) if ready_to_pickup else 0.0,
        cost_per_order=_courier_pay(instance, day) / max(1, len(day.dropped_at)),
        orders_per_bundle=len(day.dropped_at) / max(1, len(trips)),
    )


def _click_to_door(instance: Instance, day: AuditedDay, row: int) -> int:
    """From click to door; WORST_MINUTES for an order that was never delivered."""
    if row not in day.dropped_at:
        return WORST_MINUTES
    return day.dropped_at[row] - instance.orders[row].placed


def _percent(flags: list[bool]) -> float:
    return PERCENT * sum(flags) / len(flags)


def _courier_pay(instance: Instance, day: AuditedDay) -> float:
    """The couriers' pay: per order, at least the hourly pay of the shift."""
    carried = Counter(day.courier_of.values())
    return sum(
        max(
            PAY_PER_ORDER * carried[row],
            PAY_PER_HOUR * (courier.off_time - courier.on_time) / MINUTES_PER_HOUR,
        )
        for row, courier in enumerate(instance.couriers)
    )
