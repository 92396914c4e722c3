"""Routing engine client: the engine's duration is used if valid, else our own estimate."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from dispatch.ids import OrderId
from dispatch.model import DispatchState, Place, RiderAssignment
from dispatch.tracking.route_leg import RouteLeg
from handlers.gateways.routing_engine import (
    QUEUE_MAX,
    RATIO_MAX,
    EngineKind,
    RouteQuery,
    RoutingEngine,
)


class FakeRoutingEngine:
    """A routing engine that answers as set, and records its requests."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, Any]] = []
        self.response: Any = {}
        self.status = 200

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.path_qs, body))
        return web.json_response(self.response, status=self.status)


@pytest_asyncio.fixture
async def fake_engine() -> AsyncIterator[FakeRoutingEngine]:
    engine, app = FakeRoutingEngine(), web.Application()
    app.router.add_route("*", "/{path:.*}", engine.handle)
    async with TestServer(app) as server:
        engine.url = str(server.make_url("/"))
        yield engine


def a_leg() -> RouteLeg:
    place = Place(lat=4.06, lng=9.71)
    return RouteLeg(
        RiderAssignment(
            order_id=OrderId("ord_1"), state=DispatchState.ASSIGNED, pickup=place, dropoff=place
        )
    )


async def resolve_leg(
    engine: FakeRoutingEngine, kind: EngineKind, vehicle: str = "CAR"
) -> RouteLeg:
    """Resolve one query whose own estimate is 100 s."""
    leg = a_leg()
    leg.router_ratio = 3.0
    async with aiohttp.ClientSession() as http:
        client = RoutingEngine(kind, engine.url, timeout_ms=2_000)
        await client.resolve(http, RouteQuery(leg, (4.05, 9.7), vehicle, 100.0))
    return leg


OSRM = {"code": "Ok", "routes": [{"duration": 150.0, "distance": 1_800.0}]}
VALHALLA = {"trip": {"status": 0, "summary": {"time": 150.0, "length": 1.8}}}


async def test_osrm_gets_longitude_first_and_a_profile(fake_engine: FakeRoutingEngine):
    """The ratio of OSRM's duration to our estimate is kept in the leg."""
    fake_engine.response = OSRM
    assert (await resolve_leg(fake_engine, "osrm", "BICYCLE")).router_ratio == 1.5
    path = "/route/v1/cycling/9.700000,4.050000;9.710000,4.060000?overview=false"
    assert fake_engine.requests == [(path, None)]


async def test_valhalla_gets_locations_and_a_costing_model(fake_engine: FakeRoutingEngine):
    """The ratio of Valhalla's duration to our estimate is kept in the leg."""
    fake_engine.response = VALHALLA
    assert (await resolve_leg(fake_engine, "valhalla", "MOTORBIKE")).router_ratio == 1.5
    [(path, body)] = fake_engine.requests
    assert path == "/route"
    assert body["costing"] == "motorcycle"
    assert body["locations"] == [{"lat": 4.05, "lon": 9.7}, {"lat": 4.06, "lon": 9.71}]


@pytest.mark.parametrize(
    "answer",
    [
        {"code": "NoRoute", "routes": []},
        {"routes": [{"duration": "soon"}]},
        {"routes": [{"duration": -1}]},
        {"routes": [{"duration": True}]},
        [],
        None,
    ],
)
async def test_an_answer_without_a_duration_is_ignored(
    fake_engine: FakeRoutingEngine, answer: object
):
    """Our own estimate stays."""
    fake_engine.response = answer
    assert (await resolve_leg(fake_engine, "osrm")).router_ratio == 1.0


async def test_an_error_status_is_ignored(fake_engine: FakeRoutingEngine):
    """Our own estimate stays, even if the body holds a duration."""
    fake_engine.response, fake_engine.status = OSRM, 500
    assert (await resolve_leg(fake_engine, "osrm")).router_ratio == 1.0


async def test_an_unreachable_engine_is_ignored():
    """Our own estimate stays."""
    unreachable = FakeRoutingEngine()
    unreachable.url = "http://127.0.0.1:9"
    assert (await resolve_leg(unreachable, "osrm")).router_ratio == 1.0


async def test_the_ratio_is_bounded(fake_engine: FakeRoutingEngine):
    """A duration far above our estimate counts as RATIO_MAX times it."""
    fake_engine.response = {"routes": [{"duration": 90_000}]}
    assert (await resolve_leg(fake_engine, "osrm")).router_ratio == RATIO_MAX


async def test_queries_over_the_queue_limit_are_dropped(fake_engine: FakeRoutingEngine):
    """Queueing never waits, and the queue is bounded."""
    client = RoutingEngine("osrm", fake_engine.url, timeout_ms=1_000)
    for _ in range(QUEUE_MAX + 5):
        client.request_route(a_leg(), (4.05, 9.7), None, 100.0)
    assert client.queue_length == QUEUE_MAX
