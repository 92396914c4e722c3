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
# Click-to-door time that an order counts with at most, and if it was never delivered.
# Units: minutes.
WORST_MINUTES = 120
LATE_MINUTES = 40
PAY_PER_ORDER, PAY_PER_HOUR = 10, 15


class Order(NamedTuple):
    """One order; `place` is its restaurant's row. Units: metres, minutes."""

    name: str
    x: float
    y: float
    placed: int
    place: int
    ready: int


class Courier(NamedTuple):
    """One courier and its shift. Units: metres, minutes."""

    name: str
    x: float
    y: float
    on_time: int
    off_time: int


class Restaurant(NamedTuple):
    """One restaurant. Units: metres."""

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
    """A courier's instructions: when to leave, when the last order was added, what to deliver.

    `picked_at` is what the run claims; the audit computes it again. Units: minutes.
    """

    courier: int
    sent_at: int
    fixed_at: int
    picked_at: int
    orders: tuple[int, ...]


def read_instance(folder: Path) -> Instance:
    """Read the instance in a folder."""
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
    """The rows of a table without its header."""
    lines = path.read_text().splitlines()[1:]
    return [line.split("\t") for line in lines if line.strip()]


def travel_minutes(instance: Instance, start: tuple[float, float], end: tuple[float, float]) -> int:
    """Travel time between two points. Units: metres in, whole minutes out."""
    return ceil(hypot(start[0] - end[0], start[1] - end[1]) / instance.metres_per_minute)


def fastest_delivery_minutes(instance: Instance, order: Order) -> int:
    """From click to door if a courier stands ready at the restaurant. Units: minutes."""
    restaurant = instance.restaurants[order.place]
    travel = travel_minutes(instance, (restaurant.x, restaurant.y), (order.x, order.y))
    return order.ready - order.placed + HALF_SERVICE_MINUTES + travel + HALF_SERVICE_MINUTES
