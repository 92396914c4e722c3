"""A stopping server tells its sockets when they end, and ends them one after the other."""

import asyncio
import json
import random

from handlers.transport.graceful_shutdown import GracefulShutdown
from tests.handlers.socket_edge import WS_PATH, run_edge
from tests.waiting import Until


async def test_every_socket_gets_server_draining_and_is_closed(until: Until):
    """Each hears `server_draining` with its own moment, then its connection closes."""
    async with (
        run_edge() as house,
        house.connect_rider("rdr_1") as one,
        house.connect_rider("rdr_2") as two,
    ):
        parting = asyncio.ensure_future(GracefulShutdown(house.server, 0.0, random.Random(1)).run())
        said = [json.loads((await raw.next_packet()).partition(",")[2]) for raw in (one, two)]
        ends = [await raw.next_packet() for raw in (one, two)]
        await parting

    assert said == [["server_draining", {"afterMs": 0}]] * 2
    assert ends == ["closed", "closed"]


async def test_close_times_are_spread(until: Until):
    """They lie anywhere in the time that the server takes."""
    async with (
        run_edge() as house,
        house.connect_rider("rdr_1") as one,
        house.connect_rider("rdr_2") as two,
    ):
        parting = asyncio.ensure_future(
            GracefulShutdown(house.server, 60.0, random.Random(1)).run()
        )
        said = [json.loads((await raw.next_packet()).partition(",")[2])[1] for raw in (one, two)]
        house.clock.advance(60_001)
        await parting

    moments = [body["afterMs"] for body in said]
    assert len(set(moments)) == 2
    assert all(0 <= moment <= 60_000 for moment in moments)


async def test_new_connections_are_refused():
    """A client that comes meanwhile is sent elsewhere at once."""
    async with run_edge() as house:
        await GracefulShutdown(house.server, 0.0).run()
        answer = await house.http.get(house.url + WS_PATH)

    assert answer.status == 503


async def test_a_command_in_flight_is_answered(until: Until):
    """Its socket is closed after the answer, though its moment has come before."""
    async with run_edge() as house, house.connect_rider("rdr_1") as raw:
        house.desk.commands_allowed.clear()
        await raw.send('42/rider,7["accept_delivery",{"orderId":"o1","offerId":"f1"}]')
        await until.true(lambda: any(session.jobs for session in house.sessions))
        parting = asyncio.ensure_future(
            GracefulShutdown(house.server, 60.0, random.Random(1)).run()
        )
        told = await raw.next_packet()
        house.clock.advance(59_999)
        house.desk.commands_allowed.set()
        answer = await raw.next_ack(7)
        assert await raw.next_packet() == "closed"
        await parting

    assert "server_draining" in told
    assert answer["ok"]
