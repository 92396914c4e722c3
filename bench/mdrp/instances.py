"""Instances of the public Meal Delivery Routing Problem library, and its rules.

Source: D. Reyes et al., "The Meal Delivery Routing Problem", 2018; github.com/grubhub/mdrplib.
"""

from math import ceil, hypot
from pathlib import Path
from typing import NamedTuple

# At every stop, before and after the goods change hands: half of the library's four minutes.
# Units: minutes.
HALF_SERVICE_MINUTES = 2
# An order that could not arrive earlier than this at best is set aside. Units: minutes.
SERVICEABLE_MINUTES = 90
# An order counts as delivered so late at most, and so if it never was. Units: minutes.
WORST_MINUTES = 120
LATE_MINUTES = 40
PAY_PER_ORDER, PAY_PER_HOUR = 10, 15


class Order(NamedTuple):
    """Units: metres, minutes."""

    name: str
    x: float
    y: float
    placed: int
    place: int
    ready: int


class Courier(NamedTuple):
    """Units: metres, minutes."""

    name: str
    x: float
    y: float
    on_time: int
    off_time: int


class Restaurant(NamedTuple):
    """Units: metres."""

    name: str
    x: float
    y: float


class Instance(NamedTuple):
    """One day of one city."""

    name: str
    metres_per_minute: float
    orders: list[Order]
    couriers: list[Courier]
    restaurants: list[Restaurant]


class ExecutedTrip(NamedTuple):
    """What a courier was told: when to leave, when his last order was added, what to bring.

    `picked_at` is what the run says of itself; whoever judges it works it out again.
    Units: minutes.
    """

    courier: int
    sent_at: int
    fixed_at: int
    picked_at: int
    orders: tuple[int, ...]


def read_instance(folder: Path) -> Instance:
    """The instance of a folder."""
    restaurants = [
        Restaurant(name, float(x), float(y)) for name, x, y in _rows(folder / "restaurants.txt")
    ]
    place = {restaurant.name: row for row, restaurant in enumerate(restaurants)}
    orders = [
        Order(name, float(x), float(y), int(float(placed)), place[at], int(float(ready)))
        for name, x, y, placed, at, ready in _rows(folder / "orders.txt")
    ]
    couriers = [
        Courier(name, float(x), float(y), int(float(on)), int(float(off)))
        for name, x, y, on, off in _rows(folder / "couriers.txt")
    ]
    [parameters] = _rows(folder / "instance_parameters.txt")
    return Instance(folder.name, float(parameters[0]), orders, couriers, restaurants)


def _rows(path: Path) -> list[list[str]]:
    """The lines of a table but for its head."""
    lines = path.read_text().splitlines()[1:]
    return [line.split("\t") for line in lines if line.strip()]


def travel_minutes(instance: Instance, start: tuple[float, float], end: tuple[float, float]) -> int:
    """From point to point. Units: whole minutes."""
    return ceil(hypot(start[0] - end[0], start[1] - end[1]) / instance.metres_per_minute)


def fastest_delivery_minutes(instance: Instance, order: Order) -> int:
    """From click to door if a courier stands ready at the restaurant. Units: minutes."""
    restaurant = instance.restaurants[order.place]
    way = travel_minutes(instance, (restaurant.x, restaurant.y), (order.x, order.y))
    return order.ready - order.placed + HALF_SERVICE_MINUTES + way + HALF_SERVICE_MINUTES
