"""TCP connections that say nothing, or say it slowly, and those that are only quiet."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from aiohttp import web
from yarl import URL

from handlers.http.framework.envelope import PUBLIC, Route
from handlers.transport import idle_reaper
from handlers.transport.idle_reaper import Silence
from tests.handlers.socket_edge import House, edge
from tests.waiting import Until


@pytest_asyncio.fixture(loop_scope="session")
async def house() -> AsyncIterator[House]:
    enough = asyncio.Event()

    async def get_slowly(_request: web.Request) -> object:
        await enough.wait()
        return None

    async with edge(routes=[Route("GET", "/slow", PUBLIC, get_slowly)]) as house:
        yield house
        # One that is left would run out of time in the middle of another test, and say so there.
        enough.set()


@pytest.fixture
def watch(house: House) -> Silence:
    return Silence(house.http_server, house.porch, house.clock)


async def say(house: House, said: bytes) -> asyncio.StreamReader:
    url = URL(house.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(said)
    await Until().true(lambda: bool(house.porch.waiting or house.http_server.connections))
    return reader


async def until_cut(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        async with asyncio.timeout(5):
            while await reader.read(1000):
                pass


@pytest.mark.parametrize(
    "said",
    [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET"],
)
async def test_a_connection_without_a_request_is_cut(house: House, watch: Silence, said: bytes):
    """Eight seconds for a first request, for the last line of its headers, and for the next."""
    reader = await say(house, said)
    connections = house.http_server.connections
    await Until().true(lambda: all(c._current_request is None for c in connections))
    assert watch.sweep() == 0
    house.clock.advance(7_999)
    assert watch.sweep() == 0
    house.clock.advance(1)
    assert watch.sweep() == 1
    await until_cut(reader)


async def test_requests_that_run_are_not_silent(house: House, watch: Silence):
    """A WebSocket and a slow answer stay as long as they like."""
    async with house.rider() as raw:
        await say(house, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await Until().true(lambda: bool(house.http_server.connections))
        [slow] = house.http_server.connections
        await Until().true(lambda: slow._current_request is not None)
        watch.sweep()
        house.clock.advance(60_000)
        assert watch.sweep() == 0
        assert (await raw.ask("arrived_pickup", "ord_1"))["ok"] is True


async def test_the_watch_sweeps_by_itself(
    house: House, watch: Silence, monkeypatch: pytest.MonkeyPatch
):
    """The loop that is supervised needs nobody."""
    monkeypatch.setattr(idle_reaper, "SWEEP_EVERY_S", 0.01)
    monkeypatch.setattr(idle_reaper, "SILENCE_S_MAX", 0)
    reader = await say(house, b"GET")
    async with Until().running(watch.watch):
        await until_cut(reader)
