"""Fixtures of the simulated city: a fake server, and a fast city that uses it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from city.actors.city import City
from city.client.tokens import TokenSigner
from city.model.behaviour import Behaviour
from city.model.clock import MachineClock
from city.model.counters import Counters
from city.model.streets import build_streets
from tests.city.fake_server import SECRET, FakeServer, running_fake_server

# Nothing rare happens unless a test asks for it.
CALM = Behaviour(cancel_chance=0.0, reject_chance=0.0, breakdown_chance=0.0, outage_chance=0.0)


@pytest_asyncio.fixture
async def fake_server() -> AsyncIterator[FakeServer]:
    """A running fake server."""
    async with running_fake_server() as fake:
        yield fake


@pytest_asyncio.fixture
async def city(fake_server: FakeServer) -> AsyncIterator[City]:
    """A calm city on the fake server, with fast people and vehicles."""
    clock = MachineClock()
    async with aiohttp.ClientSession() as session:
        yield City(
            session=session,
            url=fake_server.url,
            signer=TokenSigner(SECRET, clock.now_ms),
            clock=clock,
            streets=build_streets(),
            counters=Counters(),
            seed=7,
            time_scale=200.0,
            reaction_speedup=100.0,
            behaviour=CALM,
            wire_speed_max=4_000.0,
        )
