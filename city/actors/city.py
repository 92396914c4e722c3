"""The running city: what all its actors share - streets, shops, time scale, server connection."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import aiohttp

from city.client.http_client import Api
from city.client.socket_client import ConnectionTarget, OnEvent, SocketClient
from city.client.tokens import NAMESPACES, TokenSigner, UserType
from city.model.behaviour import Behaviour
from city.model.clock import CityClock
from city.model.counters import Counters
from city.model.motion import WIRE_SPEED_MAX
from city.model.seeded_random import seeded_random
from city.model.streets import DISTRICTS, Point, Streets, to_degrees

Service = Literal["FOOD", "MART", "PACKAGE"]

# Distance between a customer's door and its shop. Source: a guess that keeps a delivery near one
# minute in a demo: log-normal, median 240 m over the straight line, between 80 m and 2 km.
TRIP_MEDIAN_M, TRIP_LN_SD = 240.0, 0.7
TRIP_MIN_M, TRIP_MAX_M = 80.0, 2_000.0
# Riders wait for orders within a few streets of one of the nearest shops.
WAITING_SHOPS_MAX, WAITING_WITHIN_M = 3, 220.0


@dataclass(frozen=True, slots=True)
class Shop:
    """A vendor as its customers see it. Units: whole XAF."""

    vendor_id: str
    name: str
    service: Service
    district: str
    location: Point
    menu: dict[str, int]


@dataclass(slots=True)
class City:
    """One running city."""

    session: aiohttp.ClientSession
    url: str
    signer: TokenSigner
    clock: CityClock
    streets: Streets
    counters: Counters
    seed: int
    # Seconds of the city in one second of the wall clock.
    time_scale: float = 3.0
    # Divides the reaction times of people; tests use a large one.
    reaction_speedup: float = 1.0
    behaviour: Behaviour = field(default_factory=Behaviour)
    # Largest speed of a vehicle in its fixes. Units: metres per second.
    wire_speed_max: float = WIRE_SPEED_MAX
    # All shops there will be; and those that have opened.
    shops: list[Shop] = field(default_factory=list)
    open_shops: dict[str, Shop] = field(default_factory=dict)
    first_shop_open: asyncio.Event = field(default_factory=asyncio.Event)
    # Cached prices by vendor, from the server's catalogue.
    menus: dict[str, dict[str, int]] = field(default_factory=dict)

    def rng(self, purpose: str) -> Random:
        """A seeded generator for one purpose in this run."""
        return seeded_random(self.seed, purpose)

    def token_source(self, user_type: UserType, user_id: str) -> Callable[[], str]:
        """A function that signs a fresh token for one person."""
        return lambda: self.signer.sign(user_type, user_id)

    def api(self, user_type: UserType, user_id: str) -> Api:
        """The HTTP client of one person's app."""
        # Not seeded alone: an idempotency key of this run must never equal one of an earlier run.
        rng = seeded_random(self.clock.now_ms(), self.seed, user_id, "http")
        return Api(
            self.session, self.url, self.token_source(user_type, user_id), self.counters, rng
        )

    def socket_client(self, user_type: UserType, user_id: str, on_event: OnEvent) -> SocketClient:
        """The Socket.IO client of one person's app."""
        rng = seeded_random(self.clock.now_ms(), self.seed, user_id, "line")
        target = ConnectionTarget(
            self.session, self.url, NAMESPACES[user_type], self.token_source(user_type, user_id)
        )
        return SocketClient(target, on_event, self.counters, rng)

    def random_district_point(self, rng: Random) -> tuple[str, Point]:
        """A random door and its district; busy districts are drawn more often."""
        district = rng.choices(DISTRICTS, [district.weight for district in DISTRICTS])[0]
        return district.name, self.streets.random_point(district, rng)

    def random_waiting_point(self, rng: Random, near: Point | None = None) -> Point:
        """Where a rider waits for orders: near a shop, one of the nearest to a point if given."""
        if not self.shops:
            return near or self.random_district_point(rng)[1]
        doors = [shop.location for shop in self.shops]
        if near is not None:
            doors = sorted(doors, key=lambda door: math.dist(door, near))[:WAITING_SHOPS_MAX]
        return self.streets.random_point_near(
            rng.choice(doors), rng.uniform(40, WAITING_WITHIN_M), rng
        )

    def human_delay_s(self, rng: Random, median_s: float, spread: float = 0.4) -> float:
        """A random time that a person takes, log-normal. Units: wall-clock seconds of the demo."""
        return median_s * math.exp(rng.gauss(0, spread)) / self.reaction_speedup


def random_trip_m(rng: Random) -> float:
    """Straight-line distance from the next customer's door to its shop. Units: metres."""
    drawn = TRIP_MEDIAN_M * math.exp(rng.gauss(0, TRIP_LN_SD))
    return min(max(drawn, TRIP_MIN_M), TRIP_MAX_M)


def wire_location(point: Point, address: str) -> dict[str, float | str]:
    """A point as a location of the contract. Units: metres in, degrees out."""
    lat, lng = to_degrees(point)
    return {"lat": round(lat, 6), "lng": round(lng, 6), "address": address}
