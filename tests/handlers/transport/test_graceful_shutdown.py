"""A stopping server announces to each socket when it will be closed, and closes it then."""

import asyncio
import json
import random
from typing import Any

from handlers.transport.graceful_shutdown import GracefulShutdown
from tests.handlers.socket_edge import WS_PATH, RawClient, run_edge
from tests.waiting import Until


async def next_event(raw: RawClient) -> list[Any]:
    return json.loads((await raw.next_packet()).partition(",")[2])


async def test_every_socket_gets_server_draining_and_is_closed():
    """`server_draining` comes first, then the connection is closed."""
    async with (
        run_edge() as edge,
        edge.connect_rider("rdr_1") as one,
        edge.connect_rider("rdr_2") as two,
    ):
        shutdown = GracefulShutdown(edge.server, 0.0, random.Random(1))
        running = asyncio.ensure_future(shutdown.run())
        events = [await next_event(raw) for raw in (one, two)]
        ends = [await raw.next_packet() for raw in (one, two)]
        await running

    assert events == [["server_draining", {"afterMs": 0}]] * 2
    assert ends == ["closed", "closed"]


async def test_close_times_are_spread():
    """They differ, and lie within the time that the shutdown takes."""
    async with (
        run_edge() as edge,
        edge.connect_rider("rdr_1") as one,
        edge.connect_rider("rdr_2") as two,
    ):
        shutdown = GracefulShutdown(edge.server, 60.0, random.Random(1))
        running = asyncio.ensure_future(shutdown.run())
        events = [await next_event(raw) for raw in (one, two)]
        edge.clock.advance(60_001)
        await running

    after_ms = [body["afterMs"] for _, body in events]
    assert len(set(after_ms)) == 2
    assert all(0 <= each <= 60_000 for each in after_ms)


async def test_new_connections_are_refused():
    """A client that connects during the shutdown gets 503."""
    async with run_edge() as edge:
        await GracefulShutdown(edge.server, 0.0).run()
        response = await edge.http.get(edge.url + WS_PATH)

    assert response.status == 503


async def test_a_command_in_flight_is_answered(until: Until):
    """Its socket is closed after the answer, although its close time has passed."""
    async with run_edge() as edge, edge.connect_rider() as raw:
        edge.context.commands_allowed.clear()
        await raw.send('42/rider,7["accept_delivery",{"orderId":"o1","offerId":"f1"}]')
        await until.true(lambda: any(session.jobs for session in edge.sessions))
        shutdown = GracefulShutdown(edge.server, 60.0, random.Random(1))
        running = asyncio.ensure_future(shutdown.run())
        event = await next_event(raw)
        edge.clock.advance(59_999)
        edge.context.commands_allowed.set()
        ack = await raw.next_ack(7)
        assert await raw.next_packet() == "closed"
        await running

    assert event[0] == "server_draining"
    assert ack["ok"]
