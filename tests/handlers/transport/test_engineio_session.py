"""Heartbeat, time limits and long polling of a session."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from handlers.sessions.rate_limits import VIOLATIONS_MAX
from handlers.transport.engineio_session import SessionTimeouts
from tests.handlers.socket_edge import DEADLINE_S, RunningEdge, metric_value, run_edge, settings
from tests.waiting import Until

SOON_S = 0.05


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge() as running:
        yield running


@pytest.mark.parametrize("first", ["", '40/rider,{"token":"x"}', "40/nowhere,{}"])
async def test_a_connection_that_joins_nothing_is_cut(first: str):
    """Answering pings is not enough to stay connected (SECURITY.md, row 6)."""
    async with run_edge(
        SessionTimeouts(connect_timeout_s=SOON_S, ping_interval_s=SOON_S / 5)
    ) as running:
        async with running.connect() as raw:
            await raw.send(first or "3")
            while await raw.next_packet() != "closed":
                pass
        assert running.server.eio.sockets == {}


async def test_a_connection_that_has_left_its_namespace_is_cut():
    """The deadline for joining starts again when the last namespace is left."""
    async with (
        run_edge(SessionTimeouts(connect_timeout_s=SOON_S)) as running,
        running.connect_rider() as raw,
    ):
        await raw.send("41/rider,")
        assert await raw.next_packet() == "closed"


async def test_a_joined_connection_stays():
    """The deadline for joining ends with the first joined namespace."""
    timeouts = SessionTimeouts(
        connect_timeout_s=SOON_S, ping_interval_s=SOON_S / 2, ping_timeout_s=5
    )
    async with run_edge(timeouts) as running, running.connect_rider() as raw:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SOON_S * 4):
                await raw.next_packet()
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_a_client_that_does_not_answer_pings_is_cut():
    """The connection ends, and with it the session, when the ping timeout has passed."""
    timeouts = SessionTimeouts(ping_interval_s=SOON_S, ping_timeout_s=SOON_S)
    async with run_edge(timeouts) as running, running.connect_rider() as raw:
        assert (await raw.ws.receive()).data == "2"
        assert (await raw.ws.receive()).type is not aiohttp.WSMsgType.TEXT
        await Until().true(lambda: len(running.sessions) == 0)


async def test_two_polls_at_once_end_the_session(edge: RunningEdge):
    """The first poll gets CLOSE, the second 400. Source: Engine.IO protocol 4, a single poll."""
    url, _ = await edge.open_polling_session()
    first = asyncio.ensure_future(edge.http.get(url))
    [connection] = edge.server.eio.sockets.values()
    await Until().true(lambda: connection.send_buffer.is_polled)
    async with edge.http.get(url) as second:
        assert second.status == 400
    assert await (await first).text() == "1"


async def test_an_unsolicited_pong_counts_as_a_violation():
    """A connection that sends nothing but pongs is aborted when its budget is used up."""
    reason = {"namespace": "/rider", "reason": "too_many_violations"}
    before = metric_value("reeyo_sockets_ended_total", **reason)
    async with run_edge() as running, running.connect_rider():
        [connection] = running.server.eio.sockets.values()
        for _ in range(VIOLATIONS_MAX):
            assert connection.receive("3")
        assert not connection.closed
        connection.receive("3")
        assert connection.closed
    assert metric_value("reeyo_sockets_ended_total", **reason) == before + 1


async def test_the_end_is_reported_once(edge: RunningEdge):
    """A second `end` does nothing, and later packets are not handled."""
    async with edge.connect_rider():
        [connection] = edge.server.eio.sockets.values()
        connection.end("client_closed")
        connection.end("slow_reader", abort=True)
        assert not connection.receive('42/rider,["location_update",{"lat":1,"lng":2}]')
    await Until().true(lambda: len(edge.context.left) == 1)
    assert edge.context.received == []


async def test_the_defaults_follow_the_settings():
    """Heartbeat settings replace the defaults, other time limits stay."""
    timeouts = SessionTimeouts.from_settings(settings(ping_interval_s=7, ping_timeout_s=3))
    assert (timeouts.ping_interval_s, timeouts.ping_timeout_s) == (7, 3)
    assert timeouts.connect_timeout_s == SessionTimeouts().connect_timeout_s


async def test_a_pong_is_activity():
    """An app that only answers pings is there, and its audience learns it."""
    async with run_edge(SessionTimeouts(ping_interval_s=0.05)) as edge, edge.connect_rider() as raw:
        [session] = edge.sessions.for_identity("rider:rdr_1")
        noted = asyncio.Event()
        session.on_activity = noted.set
        reading = asyncio.create_task(raw.next_packet())
        assert await asyncio.wait_for(noted.wait(), DEADLINE_S)
        reading.cancel()
