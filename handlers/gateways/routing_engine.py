"""Asks a router on the company's own network how long a way takes: OSRM or Valhalla, over HTTP."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import aiohttp
import structlog

from dispatch import metrics
from dispatch.tracking.route_leg import Leg

Kind = Literal["osrm", "valhalla"]
Place = tuple[float, float]

# Questions that wait; above it the newest is dropped, counted, and asked again half a minute later.
WAITING_MAX = 1_000
# Questions side by side; a router on two cores answers some hundred a second.
AT_ONCE = 8
# A router's word is believed within this of ours: a map without a bridge sends riders around a
# river for an hour.
RATIO_MIN, RATIO_MAX = 0.4, 4.0
BODY_BYTES_MAX = 256 * 1024

# Source: OSRM's usual profiles, and Valhalla's costing models (valhalla.github.io, Turn-by-turn).
_PROFILES: Mapping[str, str] = MappingProxyType(
    {"MOTORBIKE": "driving", "CAR": "driving", "BICYCLE": "cycling", "FOOT": "walking"}
)
_COSTINGS: Mapping[str, str] = MappingProxyType(
    {"MOTORBIKE": "motorcycle", "CAR": "auto", "BICYCLE": "bicycle", "FOOT": "pedestrian"}
)

log = structlog.get_logger(__name__)


class Question(NamedTuple):
    """How long from here to a leg's place? `ours_s` is what we would say."""

    leg: Leg
    start: Place
    vehicle: str
    ours_s: float


class NoRoute(Exception):
    """The router did not say how long it takes."""


class Router:
    """Asks in the background; the answer waits in the leg until the next estimate."""

    def __init__(self, kind: Kind, url: str, timeout_ms: int) -> None:
        self._kind: Kind = kind
        self._url = url.rstrip("/")
        self._timeout = aiohttp.ClientTimeout(total=timeout_ms / 1000)
        self._waiting: asyncio.Queue[Question] = asyncio.Queue(WAITING_MAX)

    @property
    def waiting(self) -> int:
        """How many questions wait."""
        return self._waiting.qsize()

    def ask(self, leg: Leg, start: Place, vehicle: str | None, ours_s: float) -> None:
        """Ask soon; never waits."""
        if self._waiting.full():
            metrics.ROUTES.labels("overflow").inc()
            return
        self._waiting.put_nowait(Question(leg, start, vehicle or "MOTORBIKE", ours_s))

    async def run(self) -> None:
        """Ask what waits, for as long as the server runs."""
        async with (
            aiohttp.ClientSession(timeout=self._timeout) as http,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(AT_ONCE):
                group.create_task(self._work(http))

    async def _work(self, http: aiohttp.ClientSession) -> None:
        while True:
            await self.answer(http, await self._waiting.get())

    async def answer(self, http: aiohttp.ClientSession, question: Question) -> None:
        """Ask one question; where the router fails our own estimate stands."""
        leg = question.leg
        try:
            took_s = await self.seconds(http, question)
        except (TimeoutError, aiohttp.ClientError, NoRoute, ValueError) as error:
            leg.ratio = 1.0
            metrics.ROUTES.labels("timeout" if isinstance(error, TimeoutError) else "failed").inc()
            log.debug("router_failed", cause=str(error) or type(error).__name__)
            return
        metrics.ROUTES.labels("answered").inc()
        leg.ratio = min(max(took_s / max(question.ours_s, 1.0), RATIO_MIN), RATIO_MAX)

    async def seconds(self, http: aiohttp.ClientSession, question: Question) -> float:
        """How long the router says it takes.

        Errors: TimeoutError, ClientError, NoRoute, ValueError for an answer that is no JSON.
        """
        end = (question.leg.lat, question.leg.lng)
        if self._kind == "osrm":
            return await self._osrm(http, question, end)
        return await self._valhalla(http, question, end)

    async def _osrm(self, http: aiohttp.ClientSession, question: Question, end: Place) -> float:
        """Source: OSRM HTTP API v1, route service: lng,lat pairs; `routes[0].duration` in s."""
        (lat, lng), (end_lat, end_lng) = question.start, end
        profile = _PROFILES.get(question.vehicle, "driving")
        way = f"{lng:.6f},{lat:.6f};{end_lng:.6f},{end_lat:.6f}"
        async with http.get(f"{self._url}/route/v1/{profile}/{way}?overview=false") as answer:
            told = await _json(answer)
        return _number(told, "routes", 0, "duration")

    async def _valhalla(self, http: aiohttp.ClientSession, question: Question, end: Place) -> float:
        """Source: Valhalla's route API: POST /route; `trip.summary.time` in seconds."""
        places = [{"lat": lat, "lon": lng} for lat, lng in (question.start, end)]
        costing = _COSTINGS.get(question.vehicle, "auto")
        body = {"locations": places, "costing": costing, "directions_type": "none"}
        async with http.post(f"{self._url}/route", json=body) as answer:
            told = await _json(answer)
        return _number(told, "trip", "summary", "time")


async def _json(answer: aiohttp.ClientResponse) -> Any:
    if answer.status != 200:
        raise NoRoute(f"status {answer.status}")
    if (answer.content_length or 0) > BODY_BYTES_MAX:
        raise NoRoute("an answer that is too long")
    return await answer.json(content_type=None)


def _number(told: Any, *path: str | int) -> float:
    """A positive number somewhere inside an answer."""
    try:
        for part in path:
            told = told[part]
    except (KeyError, IndexError, TypeError) as error:
        raise NoRoute(f"no {'.'.join(map(str, path))} in the answer") from error
    if not isinstance(told, int | float) or isinstance(told, bool) or not 0 <= told < 1e7:
        raise NoRoute(f"{'.'.join(map(str, path))} is no duration")
    return float(told)
