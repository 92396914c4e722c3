"""Asks a router on the company's own network how long a way takes: OSRM or Valhalla, over HTTP."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import aiohttp
import structlog

from dispatch import metrics
from dispatch.tracking.route_leg import RouteLeg

EngineKind = Literal["osrm", "valhalla"]
Point = tuple[float, float]

# Questions that wait; above it the newest is dropped, counted, and asked again half a minute later.
QUEUE_MAX = 1_000
# Questions side by side; a router on two cores answers some hundred a second.
WORKERS = 8
# A router's word is believed within this of ours: a map without a bridge sends riders around a
# river for an hour.
RATIO_MIN, RATIO_MAX = 0.4, 4.0
RESPONSE_BYTES_MAX = 256 * 1024

# Source: OSRM's usual profiles, and Valhalla's costing models (valhalla.github.io, Turn-by-turn).
_PROFILES: Mapping[str, str] = MappingProxyType(
    {"MOTORBIKE": "driving", "CAR": "driving", "BICYCLE": "cycling", "FOOT": "walking"}
)
_COSTINGS: Mapping[str, str] = MappingProxyType(
    {"MOTORBIKE": "motorcycle", "CAR": "auto", "BICYCLE": "bicycle", "FOOT": "pedestrian"}
)

log = structlog.get_logger(__name__)


class RouteQuery(NamedTuple):
    """How long from here to a leg's place? `ours_s` is what we would say."""

    leg: RouteLeg
    start: Point
    vehicle: str
    own_estimate_s: float


class NoRoute(Exception):
    """The router did not say how long it takes."""


class RoutingEngine:
    """Asks in the background; the answer waits in the leg until the next estimate."""

    def __init__(self, kind: EngineKind, url: str, timeout_ms: int) -> None:
        self._kind: EngineKind = kind
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        self._queue: asyncio.Queue[RouteQuery] = asyncio.Queue(QUEUE_MAX)

    @property
    def queue_length(self) -> int:
        """How many questions wait."""
        return self._queue.qsize()

    def request_route(
        self, leg: RouteLeg, start: Point, vehicle: str | None, estimate_s: float
    ) -> None:
        """Ask soon; never waits."""
        if self._queue.full():
            metrics.ROUTE_QUERIES.labels("overflow").inc()
            return
        self._queue.put_nowait(RouteQuery(leg, start, vehicle or "MOTORBIKE", estimate_s))

    async def run(self) -> None:
        """Ask what waits, for as long as the server runs."""
        async with (
            aiohttp.ClientSession(timeout=self._timeout) as http,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(WORKERS):
                group.create_task(self._run_worker(http))

    async def _run_worker(self, http: aiohttp.ClientSession) -> None:
        while True:
            await self.resolve(http, await self._queue.get())

    async def resolve(self, http: aiohttp.ClientSession, query: RouteQuery) -> None:
        """Ask one question; where the router fails our own estimate stands."""
        leg = query.leg
        try:
            took_s = await self.fetch_duration_s(http, query)
        except (TimeoutError, aiohttp.ClientError, NoRoute, ValueError) as error:
            leg.router_ratio = 1.0
            metrics.ROUTE_QUERIES.labels(
                "timeout" if isinstance(error, TimeoutError) else "failed"
            ).inc()
            log.debug("router_failed", cause=str(error) or type(error).__name__)
            return
        metrics.ROUTE_QUERIES.labels("answered").inc()
        leg.router_ratio = min(max(took_s / max(query.own_estimate_s, 1.0), RATIO_MIN), RATIO_MAX)

    async def fetch_duration_s(self, http: aiohttp.ClientSession, query: RouteQuery) -> float:
        """How long the router says it takes.

        Errors: TimeoutError, ClientError, NoRoute, ValueError for an answer that is no JSON.
        """
        end = (query.leg.lat, query.leg.lng)
        if self._kind == "osrm":
            return await self._fetch_osrm(http, query, end)
        return await self._fetch_valhalla(http, query, end)

    async def _fetch_osrm(
        self, http: aiohttp.ClientSession, query: RouteQuery, end: Point
    ) -> float:
        """Source: OSRM HTTP API v1, route service: lng,lat pairs; `routes[0].duration` in s."""
        (lat, lng), (end_lat, end_lng) = query.start, end
        profile = _PROFILES.get(query.vehicle, "driving")
        way = f"{lng:.6f},{lat:.6f};{end_lng:.6f},{end_lat:.6f}"
        async with http.get(f"{self._url}/route/v1/{profile}/{way}?overview=false") as answer:
            told = await _read_json(answer)
        return _duration_at(told, "routes", 0, "duration")

    async def _fetch_valhalla(
        self, http: aiohttp.ClientSession, query: RouteQuery, end: Point
    ) -> float:
        """Source: Valhalla's route API: POST /route; `trip.summary.time` in seconds."""
        places = [{"lat": lat, "lon": lng} for lat, lng in (query.start, end)]
        costing = _COSTINGS.get(query.vehicle, "auto")
        body = {"locations": places, "costing": costing, "directions_type": "none"}
        async with http.post(f"{self._url}/route", json=body) as answer:
            told = await _read_json(answer)
        return _duration_at(told, "trip", "summary", "time")


async def _read_json(answer: aiohttp.ClientResponse) -> Any:
    if answer.status != 200:
        raise NoRoute(f"status {answer.status}")
    if (answer.content_length or 0) > RESPONSE_BYTES_MAX:
        raise NoRoute("an answer that is too long")
    return await answer.json(content_type=None)


def _duration_at(document: Any, *path: str | int) -> float:
    """A positive number somewhere inside an answer."""
    try:
        for part in path:
            document = document[part]
    except (KeyError, IndexError, TypeError) as error:
        raise NoRoute(f"no {'.'.join(map(str, path))} in the answer") from error
    if (
        not isinstance(document, int | float)
        or isinstance(document, bool)
        or not 0 <= document < 1e7
    ):
        raise NoRoute(f"{'.'.join(map(str, path))} is no duration")
    return float(document)
