"""What all people of the city share: its streets, its pace, its shops, and the server they use."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import aiohttp

from city.client.http_client import Api
from city.client.socket_client import ConnectionTarget, OnEvent, SocketClient
from city.client.tokens import TokenSigner, UserType
from city.demo.counters import Counters
from city.model.clock import CityClock
from city.model.seeded_random import seeded_random
from city.model.streets import DISTRICTS, Point, Streets, to_degrees

Service = Literal["FOOD", "MART", "PACKAGE"]
NAMESPACES: dict[UserType, str] = {"USER": "/user", "VENDOR": "/vendor", "RIDER": "/rider"}

# How far a customer orders from. Source: a guess that keeps a delivery near one minute in a demo:
# log-normal, median 240 m as the crow flies, held between 80 m and 2 km.
TRIP_MEDIAN_M, TRIP_LN_SD = 240.0, 0.7
TRIP_MIN_M, TRIP_MAX_M = 80.0, 2_000.0
# Riders know where the work is: within a few streets of the nearest shops.
WAITING_SHOPS_MAX, WAITING_WITHIN_M = 3, 220.0


@dataclass(frozen=True, slots=True)
class Shop:
    """A vendor as his customers know him. Units: whole XAF."""

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
    # How many seconds of the city pass in one of the wall clock.
    time_scale: float = 3.0
    # How much quicker people are than people; tests have little time.
    reaction_speedup: float = 1.0
    # All shops there will be; and those that have opened.
    shops: list[Shop] = field(default_factory=list)
    open_shops: dict[str, Shop] = field(default_factory=dict)
    first_shop_open: asyncio.Event = field(default_factory=asyncio.Event)
    # Prices as the shops' own pages say them, asked for once.
    menus: dict[str, dict[str, int]] = field(default_factory=dict)

    def rng(self, purpose: str) -> Random:
        """Luck of one purpose's own in this run."""
        return seeded_random(self.seed, purpose)

    def token_source(self, user_type: UserType, user_id: str) -> Callable[[], str]:
        """A way to get fresh tokens for one person."""
        return lambda: self.signer.sign(user_type, user_id)

    def api(self, user_type: UserType, user_id: str) -> Api:
        """The HTTP side of one person's app."""
        # Not the seed's: a key of this run must never be that of an earlier one.
        rng = seeded_random(self.clock.now_ms(), self.seed, user_id, "http")
        return Api(
            self.session, self.url, self.token_source(user_type, user_id), self.counters, rng
        )

    def socket_client(self, user_type: UserType, user_id: str, on_event: OnEvent) -> SocketClient:
        """The socket of one person's app."""
        rng = seeded_random(self.clock.now_ms(), self.seed, user_id, "line")
        dial = ConnectionTarget(
            self.session, self.url, NAMESPACES[user_type], self.token_source(user_type, user_id)
        )
        return SocketClient(dial, on_event, self.counters, rng)

    def random_district_point(self, rng: Random) -> tuple[str, Point]:
        """A door somewhere in the city, in busy quarters more often."""
        district = rng.choices(DISTRICTS, [district.weight for district in DISTRICTS])[0]
        return district.name, self.streets.random_point(district, rng)

    def random_waiting_point(self, rng: Random, near: Point | None = None) -> Point:
        """Where a rider waits for work: some way from a shop, one of the nearest to a point."""
        if not self.shops:
            return near or self.random_district_point(rng)[1]
        doors = [shop.location for shop in self.shops]
        if near is not None:
            doors = sorted(doors, key=lambda door: math.dist(door, near))[:WAITING_SHOPS_MAX]
        return self.streets.random_point_near(
            rng.choice(doors), rng.uniform(40, WAITING_WITHIN_M), rng
        )

    def human_delay_s(self, rng: Random, median_s: float, spread: float = 0.4) -> float:
        """How long a person takes for something. Units: wall-clock seconds of the demo."""
        return median_s * math.exp(rng.gauss(0, spread)) / self.reaction_speedup


def random_trip_m(rng: Random) -> float:
    """How far the next customer lives from his shop, as the crow flies. Units: metres."""
    drawn = TRIP_MEDIAN_M * math.exp(rng.gauss(0, TRIP_LN_SD))
    return min(max(drawn, TRIP_MIN_M), TRIP_MAX_M)


def wire_location(point: Point, address: str) -> dict[str, float | str]:
    """A point as the wire wants it."""
    lat, lng = to_degrees(point)
    return {"lat": round(lat, 6), "lng": round(lng, 6), "address": address}
