"""The Socket.IO client of an actor's app, against a real python-socketio server."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import socketio
from aiohttp import web
from socketio.exceptions import ConnectionRefusedError as Refused

from city.client.socket_client import CommandRefused, ConnectionLost, ConnectionTarget, SocketClient
from city.model.counters import Counters
from city.model.seeded_random import seeded_random

# Far above what any of these takes, also on a busy machine.
WAIT_S = 60


@dataclass
class EchoServer:
    """A server that records what it receives."""

    url: str = ""
    server: socketio.AsyncServer = field(
        default_factory=lambda: socketio.AsyncServer(async_mode="aiohttp", ping_interval=1)
    )
    auths: list[dict[str, Any]] = field(default_factory=list)
    received: list[Any] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    failing: int = 0
    sids: list[str] = field(default_factory=list)

    async def drop(self) -> None:
        """Close the newest connection."""
        await self.server.disconnect(self.sids[-1], namespace="/rider")

    async def send_event(self, name: str, payload: dict[str, Any]) -> None:
        """Send an event to the newest connection."""
        await self.server.emit(name, payload, to=self.sids[-1], namespace="/rider")


class RiderNamespace(socketio.AsyncNamespace):
    """The commands of the server."""

    def __init__(self, echo_server: EchoServer) -> None:
        super().__init__("/rider")
        self.echo_server = echo_server

    async def on_connect(self, sid: str, _: object, auth: dict[str, Any]) -> None:
        self.echo_server.auths.append(auth)
        for code in self.echo_server.refusals[:1]:
            self.echo_server.refusals.remove(code)
            raise Refused(code)
        self.echo_server.sids.append(sid)

    async def on_echo(self, _: str, payload: dict[str, Any]) -> dict[str, Any]:
        self.echo_server.received.append(payload)
        return {"ok": True, "data": payload}

    async def on_refuse(self, _: str, __: object) -> dict[str, Any]:
        error = {"code": "wrong_state", "message": "no", "retryable": False}
        return {"ok": False, "error": error}

    async def on_busy(self, _: str, payload: dict[str, Any]) -> dict[str, Any]:
        self.echo_server.received.append(payload)
        self.echo_server.failing -= 1
        error = {"code": "unavailable", "message": "later", "retryable": True}
        return [{"ok": True, "data": payload}, {"ok": False, "error": error}][
            self.echo_server.failing >= 0
        ]


@dataclass
class ClientProbe:
    """A client with the events that it received."""

    socket: SocketClient
    counters: Counters
    events: asyncio.Queue[tuple[str, dict[str, Any]]] = field(
        default_factory=lambda: asyncio.Queue(100)
    )

    async def next_event(self) -> tuple[str, dict[str, Any]]:
        """The next event."""
        async with asyncio.timeout(WAIT_S):
            return await self.events.get()

    async def wait_connected(self, openings: int) -> None:
        """Wait until the connection was opened so many times."""
        async with asyncio.timeout(WAIT_S):
            await self.socket.wait_connected(openings)

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        async with asyncio.timeout(WAIT_S):
            while self.socket.is_open:  # noqa: ASYNC110
                await asyncio.sleep(0)


@pytest_asyncio.fixture
async def echo_server() -> AsyncIterator[EchoServer]:
    server = EchoServer()
    server.server.register_namespace(RiderNamespace(server))
    app = web.Application()
    server.server.attach(app)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(
        runner,
        "127.0.0.1",
        0,
    )
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield server
    await server.server.shutdown()
    await runner.cleanup()


@pytest_asyncio.fixture
async def client(echo_server: EchoServer) -> AsyncIterator[ClientProbe]:
    async with aiohttp.ClientSession() as session:
        counters = Counters()
        target = ConnectionTarget(session, echo_server.url, "/rider", lambda: "a.token")
        probe = ClientProbe(
            SocketClient(
                target, lambda *event: probe.events.put_nowait(event), counters, seeded_random(1)
            ),
            counters,
        )
        task = asyncio.create_task(probe.socket.run())
        yield probe
        task.cancel()
        await asyncio.wait({task})


async def test_commands_are_answered(echo_server: EchoServer, client: ClientProbe) -> None:
    """A command returns its answer's data; the connection was opened with the token."""
    assert (
        await client.socket.call_until_answered("echo", {"a": 1})
        == {"a": 1} | echo_server.received[0]
    )
    assert echo_server.auths == [{"token": "a.token"}]
    assert client.counters.samples["command_ack"].seen == 1


async def test_refusals_are_raised(client: ClientProbe) -> None:
    """A refusal that is not retryable is raised with its code, without a repeat."""
    await client.socket.wait_connected()
    with pytest.raises(CommandRefused) as refused:
        await client.socket.call_until_answered("refuse", {})
    assert refused.value.code == "wrong_state"


async def test_repeats_have_one_command_id(echo_server: EchoServer, client: ClientProbe) -> None:
    """A retryable refusal is repeated with the same commandId until it succeeds."""
    echo_server.failing = 2
    await client.socket.call_until_answered("busy", {"x": 1})
    assert [payload["x"] for payload in echo_server.received] == [1, 1, 1]
    assert len({payload["commandId"] for payload in echo_server.received}) == 1
    assert client.counters.errors["rider.busy:unavailable"] == 2


async def test_events_are_delivered_and_acknowledged(
    echo_server: EchoServer, client: ClientProbe
) -> None:
    """Events arrive in order, and one that expects an acknowledgement gets it."""
    await client.socket.wait_connected()
    answer = await echo_server.server.call(
        "delivery_request",
        {"offerId": "o"},
        to=echo_server.sids[-1],
        namespace="/rider",
        timeout=WAIT_S,
    )
    await echo_server.send_event("later", {})
    assert answer == {"ok": True}
    assert [(await client.next_event())[0] for _ in range(2)] == ["delivery_request", "later"]


async def test_a_closed_connection_is_reopened_and_resumed(
    echo_server: EchoServer, client: ClientProbe
) -> None:
    """After a disconnect the client reconnects, with the last epoch and number it has seen."""
    await client.socket.wait_connected()
    await echo_server.send_event("order_settled", {"epoch": "e1", "seq": 41, "ts": 1})
    await client.next_event()
    await echo_server.drop()
    await client.wait_connected(2)
    assert echo_server.auths[1] == {"token": "a.token", "resume": {"epoch": "e1", "seq": 41}}


async def test_events_are_delivered_once_and_gaps_are_counted(
    echo_server: EchoServer, client: ClientProbe
) -> None:
    """A repeated event is dropped and counted, a missing one is counted as an error."""
    await client.socket.wait_connected()
    for seq in (1, 2, 2, 1, 4):
        await echo_server.send_event("order_settled", {"epoch": "e1", "seq": seq})
    await echo_server.send_event("end", {})
    received = [await client.next_event() for _ in range(4)]
    assert [payload.get("seq") for _, payload in received] == [1, 2, 4, None]
    assert client.counters.counts["events_duplicated"] == 2
    assert client.counters.errors["rider.inbox:gap"] == 1


async def test_a_resync_sets_epoch_and_number(echo_server: EchoServer, client: ClientProbe) -> None:
    """A resync sets epoch and number, also to a lower one, and is delivered."""
    await client.socket.wait_connected()
    await echo_server.send_event("order_settled", {"epoch": "e1", "seq": 9})
    await echo_server.send_event("resync", {"epoch": "e2", "seq": 3})
    await echo_server.send_event("order_settled", {"epoch": "e2", "seq": 4})
    received = [await client.next_event() for _ in range(3)]
    assert [name for name, _ in received] == ["order_settled", "resync", "order_settled"]
    assert not client.counters.errors


async def test_a_refused_connect_is_counted_and_repeated(
    echo_server: EchoServer, client: ClientProbe
) -> None:
    """A refusal to connect is counted with its code; the client tries again."""
    await client.socket.wait_connected()
    echo_server.refusals.append("token_expired")
    await echo_server.drop()
    await client.wait_connected(2)
    assert client.counters.errors["rider.connect:token_expired"] == 1


async def test_an_outage_is_survived(echo_server: EchoServer, client: ClientProbe) -> None:
    """A cut connection is reopened; until then commands raise ConnectionLost."""
    await client.socket.wait_connected()
    client.socket.simulate_outage(0.05)
    await client.wait_closed()
    with pytest.raises(ConnectionLost):
        await client.socket.call("echo", {})
    assert await client.socket.send_event("echo", {}) is False
    await client.wait_connected(2)
    assert client.counters.counts["network_outages"] == 1
    assert await client.socket.call("echo", {"b": 2}) == {"b": 2}
