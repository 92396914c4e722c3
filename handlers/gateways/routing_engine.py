"""Routing engine client: travel times from OSRM or Valhalla over HTTP, in the background."""

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, TypeVar

import aiohttp
import msgspec
import structlog
from msgspec import Meta

from concurrency.work_queue import WorkQueue
from dispatch import metrics
from dispatch.tracking.route_leg import RouteLeg
from handlers.gateways.http_session import open_http_session
from handlers.gateways.response_body import read_response_body

EngineKind = Literal["osrm", "valhalla"]
# Latitude, longitude. Units: degrees WGS 84.
Point = tuple[float, float]

# Queries that wait; a query over this is dropped and counted, and the caller repeats it half a
# minute later. Source: chosen; eight workers empty the queue within seconds.
QUEUE_MAX = 1_000
# Queries sent at the same time. Source: chosen; a routing engine on two cores answers some hundred
# a second.
WORKERS = 8
# The engine's duration over our own estimate is bounded to this. Source: chosen; a map without a
# bridge sends riders around a river for an hour.
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

# Units: seconds.
_Duration = Annotated[float, Meta(ge=0, lt=1e7)]


class _OsrmRoute(msgspec.Struct, frozen=True):
    duration: _Duration


class _OsrmResponse(msgspec.Struct, frozen=True):
    """Source: OSRM HTTP API v1, route service; the first route is the recommended one."""

    routes: Annotated[list[_OsrmRoute], Meta(min_length=1)]


class _ValhallaSummary(msgspec.Struct, frozen=True):
    time: _Duration


class _ValhallaTrip(msgspec.Struct, frozen=True):
    summary: _ValhallaSummary


class _ValhallaResponse(msgspec.Struct, frozen=True):
    """Source: Valhalla's route API, `trip.summary.time`."""

    trip: _ValhallaTrip


_ResponseT = TypeVar("_ResponseT", _OsrmResponse, _ValhallaResponse)


class RouteQuery(NamedTuple):
    """A query for the travel time from `start` to the end of a route leg. Units: seconds."""

    leg: RouteLeg
    start: Point
    vehicle: str
    own_estimate_s: float


class NoRoute(Exception):
    """The routing engine did not answer with a duration."""


class RoutingEngine:
    """Queries the routing engine in the background.

    The result is kept in the leg (`router_ratio`), where the next estimate uses it.
    """

    def __init__(self, kind: EngineKind, url: str, timeout_ms: int) -> None:
        self._kind: EngineKind = kind
        self._url = url.rstrip("/")
        self._timeout_s = timeout_ms / 1000
        self._queue = WorkQueue[RouteQuery](QUEUE_MAX, WORKERS)

    @property
    def queue_length(self) -> int:
        """How many queries wait."""
        return len(self._queue)

    def request_route(
        self, leg: RouteLeg, start: Point, vehicle: str | None, estimate_s: float
    ) -> None:
        """Queue a query; never waits. Units: degrees, seconds."""
        query = RouteQuery(leg, start, vehicle or "MOTORBIKE", estimate_s)
        if not self._queue.offer(query):
            metrics.ROUTE_QUERIES.labels("overflow").inc()

    async def run(self) -> None:
        """Send queued queries; to be supervised."""
        async with open_http_session(self._timeout_s) as http:
            await self._queue.run(partial(self.resolve, http))

    async def resolve(self, http: aiohttp.ClientSession, query: RouteQuery) -> None:
        """Send one query and keep its result in the leg; on failure our own estimate stays."""
        leg = query.leg
        try:
            duration_s = await self.fetch_duration_s(http, query)
        except (TimeoutError, aiohttp.ClientError, NoRoute) as error:
            leg.router_ratio = 1.0
            metrics.ROUTE_QUERIES.labels(
                "timeout" if isinstance(error, TimeoutError) else "failed"
            ).inc()
            log.debug("router_failed", cause=str(error) or type(error).__name__)
            return
        metrics.ROUTE_QUERIES.labels("answered").inc()
        ratio = duration_s / max(query.own_estimate_s, 1.0)
        leg.router_ratio = min(max(ratio, RATIO_MIN), RATIO_MAX)

    async def fetch_duration_s(self, http: aiohttp.ClientSession, query: RouteQuery) -> float:
        """Query the travel time. Units: seconds.

        Errors: TimeoutError, ClientError, NoRoute.
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
        coordinates = f"{lng:.6f},{lat:.6f};{end_lng:.6f},{end_lat:.6f}"
        url = f"{self._url}/route/v1/{profile}/{coordinates}?overview=false"
        async with http.get(url) as response:
            return (await _read_response(response, _OsrmResponse)).routes[0].duration

    async def _fetch_valhalla(
        self, http: aiohttp.ClientSession, query: RouteQuery, end: Point
    ) -> float:
        """Source: Valhalla's route API: POST /route; `trip.summary.time` in seconds."""
        locations = [{"lat": lat, "lon": lng} for lat, lng in (query.start, end)]
        costing = _COSTINGS.get(query.vehicle, "auto")
        body = {"locations": locations, "costing": costing, "directions_type": "none"}
        async with http.post(f"{self._url}/route", json=body) as response:
            return (await _read_response(response, _ValhallaResponse)).trip.summary.time


async def _read_response(response: aiohttp.ClientResponse, kind: type[_ResponseT]) -> _ResponseT:
    if response.status != 200:
        raise NoRoute(f"status {response.status}")
    try:
        body = await read_response_body(response, RESPONSE_BYTES_MAX)
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, ValueError) as error:
        raise NoRoute(str(error)) from error
