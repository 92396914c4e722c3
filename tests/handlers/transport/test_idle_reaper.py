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
from handlers.transport.idle_reaper import IdleReaper
from tests.handlers.socket_edge import RunningEdge, run_edge
from tests.waiting import Until


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    enough = asyncio.Event()

    async def get_slowly(_request: web.Request) -> object:
        await enough.wait()
        return None

    async with run_edge(routes=[Route("GET", "/slow", PUBLIC, get_slowly)]) as house:
        yield house
        # One that is left would run out of time in the middle of another test, and say so there.
        enough.set()


@pytest.fixture
def reaper(edge: RunningEdge) -> IdleReaper:
    return IdleReaper(edge.http_server, edge.accept_queue, edge.clock)


async def open_connection(house: RunningEdge, data: bytes) -> asyncio.StreamReader:
    url = URL(house.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(data)
    await Until().true(lambda: bool(house.accept_queue.pending or house.http_server.connections))
    return reader


async def until_closed(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):
        async with asyncio.timeout(5):
            while await reader.read(1000):
                pass


@pytest.mark.parametrize(
    "data",
    [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET"],
)
async def test_a_connection_without_a_request_is_cut(
    edge: RunningEdge, reaper: IdleReaper, data: bytes
):
    """Eight seconds for a first request, for the last line of its headers, and for the next."""
    reader = await open_connection(edge, data)
    connections = edge.http_server.connections
    await Until().true(lambda: all(c._current_request is None for c in connections))
    assert reaper.sweep() == 0
    edge.clock.advance(7_999)
    assert reaper.sweep() == 0
    edge.clock.advance(1)
    assert reaper.sweep() == 1
    await until_closed(reader)


async def test_running_requests_are_not_idle(edge: RunningEdge, reaper: IdleReaper):
    """A WebSocket and a slow answer stay as long as they like."""
    async with edge.connect_rider() as raw:
        await open_connection(edge, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await Until().true(lambda: bool(edge.http_server.connections))
        [slow] = edge.http_server.connections
        await Until().true(lambda: slow._current_request is not None)
        reaper.sweep()
        edge.clock.advance(60_000)
        assert reaper.sweep() == 0
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_the_loop_sweeps_by_itself(
    edge: RunningEdge, reaper: IdleReaper, monkeypatch: pytest.MonkeyPatch
):
    """The loop that is supervised needs nobody."""
    monkeypatch.setattr(idle_reaper, "SWEEP_EVERY_S", 0.01)
    monkeypatch.setattr(idle_reaper, "IDLE_S_MAX", 0)
    reader = await open_connection(edge, b"GET")
    async with Until().running(reaper.run):
        await until_closed(reader)
