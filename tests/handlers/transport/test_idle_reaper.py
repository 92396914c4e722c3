"""Connections that wait too long for their client are aborted; running requests are not."""

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

KEEPALIVE_S = 75.0
# More than the buffers of both kernels hold.
MUCH_BYTES = 16 * 1024 * 1024
QUICK = b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n"


class FakeTransport(asyncio.Transport):
    """A connection without a client."""

    def __init__(self) -> None:
        super().__init__()
        self._is_aborted = False

    def pause_reading(self) -> None:
        """Nothing comes in any case."""

    def abort(self) -> None:
        self._is_aborted = True

    def is_closing(self) -> bool:
        return self._is_aborted


async def get_quickly(_request: web.Request) -> object:
    return None


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    may_answer = asyncio.Event()

    async def get_slowly(_request: web.Request) -> object:
        await may_answer.wait()
        return None

    async def get_much(_request: web.Request) -> object:
        return web.Response(body=b"x" * MUCH_BYTES)

    routes = [
        Route("GET", "/slow", PUBLIC, get_slowly),
        Route("GET", "/much", PUBLIC, get_much),
        Route("GET", "/quick", PUBLIC, get_quickly),
    ]
    async with run_edge(routes=routes) as running:
        yield running
        # A request left open would time out, and be logged, during another test.
        may_answer.set()


@pytest.fixture
def reaper(edge: RunningEdge) -> IdleReaper:
    return IdleReaper(edge.http_server, edge.accept_queue, edge.clock, KEEPALIVE_S)


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
    "data", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\n", QUICK + b"GET", QUICK + b"\r\n"]
)
async def test_a_connection_without_a_request_is_cut(
    edge: RunningEdge, reaper: IdleReaper, data: bytes
):
    """A connection has 8 s for its first request, and for the rest of the headers of a later one.

    It holds the private `_request_count` of aiohttp.
    """
    reader, writer = await open_connection(edge, data)
    await Until().true(lambda: all(not c.is_busy for c in edge.http_server.connections))
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
        await Until().true(lambda: slow.is_busy)
        reaper.sweep()
        edge.clock.advance(60_000)
        assert reaper.sweep() == 0
        assert slow.transport is not None
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True
        writer.close()


async def test_the_loop_sweeps_by_itself(edge: RunningEdge):
    """The background loop aborts a connection when its time has passed."""
    reaper = IdleReaper(
        edge.http_server, edge.accept_queue, edge.clock, KEEPALIVE_S, sweep_every_s=0.01
    )
    reader, writer = await open_connection(edge, b"GET")
    assert reaper.sweep() == 0
    edge.clock.advance(int(IDLE_S_MAX * 1000))
    async with Until().running(reaper.run):
        await until_closed(reader)
    writer.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    """Send a request and read its answer, which is `b""` on a connection that was aborted."""
    writer.write(QUICK)
    try:
        async with asyncio.timeout(5):
            return await reader.readuntil(b"}")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


async def test_a_live_connection_is_never_cut(edge: RunningEdge, reaper: IdleReaper):
    """Requests at any gap up to the keep-alive time are all answered, however often it is swept.

    Every sweep finds the connection between two requests, as when one is sent each second.
    """
    reader, writer = await open_connection(edge, b"")
    answers = []
    for gap_ms in [0, 1, 50, 999, 1_000, 1_001, 5_000, 8_000, 9_000, 30_000, 60_000, 70_000] * 3:
        edge.clock.advance(gap_ms)
        reaper.sweep()
        answers.append(await ask(reader, writer))
        await Until().true(lambda: all(not c.is_busy for c in edge.http_server.connections))
        reaper.sweep()
    writer.close()
    assert [each[:13] for each in answers] == [b"HTTP/1.1 200 "] * 36


async def test_a_request_that_waits_in_the_accept_queue_is_not_cut(
    edge: RunningEdge, reaper: IdleReaper
):
    """A server that is late does not blame its clients; one that has sent nothing is cut."""
    sender, silent = (edge.accept_queue() for _ in range(2))
    for connection in (sender, silent):
        connection.connection_made(FakeTransport())
    sender.data_received(QUICK)
    assert reaper.sweep() == 0
    edge.clock.advance(60_000)
    assert reaper.sweep() == 1
    assert [each.transport.is_closing() for each in (sender, silent)] == [False, True]
    for connection in (sender, silent):
        connection.connection_lost(None)


async def test_a_connection_ends_after_the_keep_alive_time(edge: RunningEdge, reaper: IdleReaper):
    """An answered connection waits for 75 s for the next request, and no longer."""
    reader, writer = await open_connection(edge, b"")
    assert (await ask(reader, writer)).startswith(b"HTTP/1.1 200 ")
    await Until().true(lambda: all(not c.is_busy for c in edge.http_server.connections))
    assert reaper.sweep() == 0
    edge.clock.advance(74_999)
    assert reaper.sweep() == 0
    edge.clock.advance(1)
    assert reaper.sweep() == 1
    await until_closed(reader)
    writer.close()


async def test_a_client_that_does_not_read_is_cut(edge: RunningEdge, reaper: IdleReaper):
    """An answer of which nothing is read for 8 s is given up."""
    request = b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n"
    reader, writer = await edge.open_tcp(request, read_limit=1)

    def waits_for_reading() -> bool:
        waits = [each.wait for each in edge.http_server.connections]
        return [wait.kind for wait in waits if wait is not None] == ["read"]

    def is_cut_after_8_s() -> bool:
        # Until the buffers of both kernels are full, something is read at each sweep.
        reaper.sweep()
        edge.clock.advance(8_000)
        return reaper.sweep() == 1

    await Until().true(waits_for_reading)
    await Until().true(is_cut_after_8_s)
    with suppress(ConnectionError):
        assert len(await reader.read()) < MUCH_BYTES
    writer.close()
