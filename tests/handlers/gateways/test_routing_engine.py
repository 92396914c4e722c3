"""A router's word is used where there is one; where there is none our own estimate stands."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from dispatch.model import Course, DispatchState, Place
from dispatch.tracking.route_leg import Leg
from handlers.gateways.routing_engine import (
    RATIO_MAX,
    WAITING_MAX,
    Kind,
    Question,
    Router,
)


class Streets:
    """A router that answers what it is told to, and keeps what it was asked."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, Any]] = []
        self.answer: Any = {}
        self.status = 200

    async def take(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.path_qs, body))
        return web.json_response(self.answer, status=self.status)


@pytest_asyncio.fixture
async def streets() -> AsyncIterator[Streets]:
    here, app = Streets(), web.Application()
    app.router.add_route("*", "/{way:.*}", here.take)
    async with TestServer(app) as server:
        here.url = str(server.make_url("/"))
        yield here


def a_leg() -> Leg:
    near = Place(lat=4.06, lng=9.71)
    return Leg(Course(order_id="ord_1", state=DispatchState.ASSIGNED, pickup=near, dropoff=near))


async def asked(streets: Streets, kind: Kind, vehicle: str = "CAR") -> Leg:
    """One question, of which we would have said 100 s."""
    leg = a_leg()
    leg.ratio = 3.0
    async with aiohttp.ClientSession() as http:
        router = Router(kind, streets.url, timeout_ms=2_000)
        await router.answer(http, Question(leg, (4.05, 9.7), vehicle, 100.0))
    return leg


OSRM = {"code": "Ok", "routes": [{"duration": 150.0, "distance": 1_800.0}]}
VALHALLA = {"trip": {"status": 0, "summary": {"time": 150.0, "length": 1.8}}}


async def test_osrm_is_asked_as_it_wants(streets: Streets):
    """Longitude first, a profile by vehicle, and its duration over ours is kept in the leg."""
    streets.answer = OSRM
    assert (await asked(streets, "osrm", "BICYCLE")).ratio == 1.5
    way = "/route/v1/cycling/9.700000,4.050000;9.710000,4.060000?overview=false"
    assert streets.asked == [(way, None)]


async def test_valhalla_is_asked_as_it_wants(streets: Streets):
    """A body with two places and a costing model by vehicle."""
    streets.answer = VALHALLA
    assert (await asked(streets, "valhalla", "MOTORBIKE")).ratio == 1.5
    [(path, body)] = streets.asked
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
async def test_an_answer_that_is_none(streets: Streets, answer: object):
    """Whatever a router says that is no duration leaves our own estimate."""
    streets.answer = answer
    assert (await asked(streets, "osrm")).ratio == 1.0


async def test_a_router_that_is_ill(streets: Streets):
    """An error of the router's leaves our own estimate, even where its body looks well."""
    streets.answer, streets.status = OSRM, 500
    assert (await asked(streets, "osrm")).ratio == 1.0


async def test_a_router_that_is_not_there():
    """Where nobody listens our own estimate stands."""
    nowhere = Streets()
    nowhere.url = "http://127.0.0.1:9"
    assert (await asked(nowhere, "osrm")).ratio == 1.0


async def test_an_absurd_answer_is_bounded(streets: Streets):
    """A map without a bridge does not make a kilometre last for hours."""
    streets.answer = {"routes": [{"duration": 90_000}]}
    assert (await asked(streets, "osrm")).ratio == RATIO_MAX


async def test_more_questions_than_fit_are_dropped(streets: Streets):
    """Asking never waits and never grows without bound."""
    router = Router("osrm", streets.url, timeout_ms=1_000)
    for _ in range(WAITING_MAX + 5):
        router.ask(a_leg(), (4.05, 9.7), None, 100.0)
    assert router.waiting == WAITING_MAX
