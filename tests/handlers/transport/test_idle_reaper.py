"""Idle connections are aborted; WebSockets and running requests are not idle."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
import pytest_asyncio
from aiohttp import web

from handlers.http.framework.envelope import PUBLIC, Route
from handlers.transport.idle_reaper import IDLE_S_MAX, IdleReaper
from tests.handlers.socket_edge import RunningEdge, metric_value, run_edge
from tests.waiting import Until


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    may_answer = asyncio.Event()

    async def get_slowly(_request: web.Request) -> object:
        await may_answer.wait()
        return None

    async with run_edge(routes=[Route("GET", "/slow", PUBLIC, get_slowly)]) as running:
        yield running
        # A request left open would time out, and be logged, during another test.
        may_answer.set()


@pytest.fixture
def reaper(edge: RunningEdge) -> IdleReaper:
    return IdleReaper(edge.http_server, edge.accept_queue, edge.clock)


async def open_connection(
    edge: RunningEdge, data: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection; the accept queue or the HTTP server has it.

    It is closed when its writer is freed.
    """
    streams = await edge.open_tcp(data)
    await Until().true(lambda: bool(edge.accept_queue.pending or edge.http_server.connections))
    return streams


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
    """A connection has 8 s for its first request, the rest of the headers, and the next request.

    It holds the private `_current_request` of aiohttp.
    """
    reader, writer = await open_connection(edge, data)
    connections = edge.http_server.connections
    await Until().true(lambda: all(c._current_request is None for c in connections))
    assert reaper.sweep() == 0
    edge.clock.advance(7_999)
    assert reaper.sweep() == 0
    edge.clock.advance(1)
    before = metric_value("reeyo_sockets_ended_total", namespace="none", reason="idle")
    assert reaper.sweep() == 1
    after = metric_value("reeyo_sockets_ended_total", namespace="none", reason="idle")
    assert after == before + 1
    await until_closed(reader)
    writer.close()


async def test_running_requests_are_not_idle(edge: RunningEdge, reaper: IdleReaper):
    """A WebSocket and a slow answer are not aborted, however long they take."""
    async with edge.connect_rider() as raw:
        request = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
        _, writer = await open_connection(edge, request)
        await Until().true(lambda: bool(edge.http_server.connections))
        [slow] = edge.http_server.connections
        await Until().true(lambda: slow._current_request is not None)
        reaper.sweep()
        edge.clock.advance(60_000)
        assert reaper.sweep() == 0
        assert slow.transport is not None
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True
        writer.close()


async def test_the_loop_sweeps_by_itself(edge: RunningEdge):
    """The background loop aborts a connection when its time has passed."""
    reaper = IdleReaper(edge.http_server, edge.accept_queue, edge.clock, sweep_every_s=0.01)
    reader, writer = await open_connection(edge, b"GET")
    assert reaper.sweep() == 0
    edge.clock.advance(int(IDLE_S_MAX * 1000))
    async with Until().running(reaper.run):
        await until_closed(reader)
    writer.close()
