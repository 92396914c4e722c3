"""The line of an actor's app against a real python-socketio server."""

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

from city.client.socket_client import CommandRefused, Dial, Line, LineDown
from city.demo.counters import Tally
from city.model.seeded_random import luck

WAIT_S = 10


@dataclass
class Office:
    """A small server that remembers what it was told."""

    url: str = ""
    server: socketio.AsyncServer = field(
        default_factory=lambda: socketio.AsyncServer(async_mode="aiohttp", ping_interval=1)
    )
    auths: list[dict[str, Any]] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    failing: int = 0
    sids: list[str] = field(default_factory=list)

    async def drop(self) -> None:
        """Close the newest connection."""
        await self.server.disconnect(self.sids[-1], namespace="/rider")

    async def tell(self, name: str, payload: dict[str, Any]) -> None:
        """Say something to the newest connection."""
        await self.server.emit(name, payload, to=self.sids[-1], namespace="/rider")


class Desk(socketio.AsyncNamespace):
    """The commands of the small server."""

    def __init__(self, office: Office) -> None:
        super().__init__("/rider")
        self.office = office

    async def on_connect(self, sid: str, _: object, auth: dict[str, Any]) -> None:
        self.office.auths.append(auth)
        for code in self.office.refusals[:1]:
            self.office.refusals.remove(code)
            raise Refused(code)
        self.office.sids.append(sid)

    async def on_echo(self, _: str, payload: dict[str, Any]) -> dict[str, Any]:
        self.office.heard.append(payload)
        return {"ok": True, "data": payload}

    async def on_refuse(self, _: str, __: object) -> dict[str, Any]:
        error = {"code": "wrong_state", "message": "no", "retryable": False}
        return {"ok": False, "error": error}

    async def on_busy(self, _: str, payload: dict[str, Any]) -> dict[str, Any]:
        self.office.heard.append(payload)
        self.office.failing -= 1
        error = {"code": "unavailable", "message": "later", "retryable": True}
        return [{"ok": True, "data": payload}, {"ok": False, "error": error}][
            self.office.failing >= 0
        ]


@dataclass
class Phone:
    """A line with what came over it."""

    line: Line
    tally: Tally
    said: asyncio.Queue[tuple[str, dict[str, Any]]] = field(
        default_factory=lambda: asyncio.Queue(100)
    )

    async def hear(self) -> tuple[str, dict[str, Any]]:
        """The next event."""
        async with asyncio.timeout(WAIT_S):
            return await self.said.get()

    async def reopened(self, openings: int) -> None:
        """Wait until the line was opened so many times."""
        async with asyncio.timeout(WAIT_S):
            await self.line.opened(openings)

    async def closed(self) -> None:
        """Wait until the line is down."""
        async with asyncio.timeout(WAIT_S):
            while self.line.is_open:  # noqa: ASYNC110
                await asyncio.sleep(0)


@pytest_asyncio.fixture
async def office() -> AsyncIterator[Office]:
    office = Office()
    office.server.register_namespace(Desk(office))
    app = web.Application()
    office.server.attach(app)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(
        runner,
        "127.0.0.1",
        0,
    )
    await site.start()
    office.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield office
    await office.server.shutdown()
    await runner.cleanup()


@pytest_asyncio.fixture
async def phone(office: Office) -> AsyncIterator[Phone]:
    async with aiohttp.ClientSession() as session:
        tally = Tally()
        dial = Dial(session, office.url, "/rider", lambda: "a.token")
        phone = Phone(Line(dial, lambda *said: phone.said.put_nowait(said), tally, luck(1)), tally)
        task = asyncio.create_task(phone.line.run())
        yield phone
        task.cancel()
        await asyncio.wait({task})


async def test_commands_are_answered(office: Office, phone: Phone) -> None:
    """A command comes back with its data; the token went with the connect."""
    assert await phone.line.insist("echo", {"a": 1}) == {"a": 1} | office.heard[0]
    assert office.auths == [{"token": "a.token"}]
    assert phone.tally.samples["command_ack"].seen == 1


async def test_refusals_are_raised(phone: Phone) -> None:
    """A refusal carries its code, and insisting does not repeat what cannot succeed."""
    await phone.line.opened()
    with pytest.raises(CommandRefused) as refused:
        await phone.line.insist("refuse", {})
    assert refused.value.code == "wrong_state"


async def test_insisting_repeats_under_one_id(office: Office, phone: Phone) -> None:
    """A retryable refusal is repeated with the same commandId until it succeeds."""
    office.failing = 2
    await phone.line.insist("busy", {"x": 1})
    assert [heard["x"] for heard in office.heard] == [1, 1, 1]
    assert len({heard["commandId"] for heard in office.heard}) == 1
    assert phone.tally.errors["rider.busy:unavailable"] == 2


async def test_events_and_receipts(office: Office, phone: Phone) -> None:
    """The server's events arrive in order, and one that wants an ack gets it."""
    await phone.line.opened()
    receipt = await office.server.call(
        "delivery_request", {"offerId": "o"}, to=office.sids[-1], namespace="/rider", timeout=WAIT_S
    )
    await office.tell("later", {})
    assert receipt == {"ok": True}
    assert [(await phone.hear())[0] for _ in range(2)] == ["delivery_request", "later"]


async def test_a_dropped_line_comes_back_and_resumes(office: Office, phone: Phone) -> None:
    """After a disconnect the line connects again and says what it has seen last."""
    await phone.line.opened()
    await office.tell("order_settled", {"epoch": "e1", "seq": 41, "ts": 1})
    await phone.hear()
    await office.drop()
    await phone.reopened(2)
    assert office.auths[1] == {"token": "a.token", "resume": {"epoch": "e1", "seq": 41}}


async def test_events_are_handed_on_once_and_gaps_are_seen(office: Office, phone: Phone) -> None:
    """A replayed event is dropped, a missing one counted as an error."""
    await phone.line.opened()
    for seq in (1, 2, 2, 1, 4):
        await office.tell("order_settled", {"epoch": "e1", "seq": seq})
    await office.tell("end", {})
    heard = [await phone.hear() for _ in range(4)]
    assert [payload.get("seq") for _, payload in heard] == [1, 2, 4, None]
    assert phone.tally.happened["events_again"] == 2
    assert phone.tally.errors["rider.inbox:gap"] == 1


async def test_resync_moves_the_place(office: Office, phone: Phone) -> None:
    """A resync sets epoch and number, even backwards, and is handed on."""
    await phone.line.opened()
    await office.tell("order_settled", {"epoch": "e1", "seq": 9})
    await office.tell("resync", {"epoch": "e2", "seq": 3})
    await office.tell("order_settled", {"epoch": "e2", "seq": 4})
    heard = [await phone.hear() for _ in range(3)]
    assert [name for name, _ in heard] == ["order_settled", "resync", "order_settled"]
    assert not phone.tally.errors


async def test_a_refused_connect_is_counted_and_tried_again(office: Office, phone: Phone) -> None:
    """A refusal to connect shows its code; the line goes on trying."""
    await phone.line.opened()
    office.refusals.append("token_expired")
    await office.drop()
    await phone.reopened(2)
    assert phone.tally.errors["rider.connect:token_expired"] == 1


async def test_a_hole_in_the_network(office: Office, phone: Phone) -> None:
    """A line that is cut comes back by itself; in between commands say that it is down."""
    await phone.line.opened()
    phone.line.lose(0.05)
    await phone.closed()
    with pytest.raises(LineDown):
        await phone.line.call("echo", {})
    assert await phone.line.say("echo", {}) is False
    await phone.reopened(2)
    assert phone.tally.happened["network_holes"] == 1
    assert await phone.line.call("echo", {"b": 2}) == {"b": 2}
