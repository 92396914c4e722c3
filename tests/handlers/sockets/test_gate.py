"""How commands are decoded, limited, run in order, and answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from handlers.sessions.auth import UserType
from handlers.sessions.rate_limits import VIOLATIONS_MAX
from handlers.sessions.session_registry import ResumePoint
from handlers.sockets.gate import BACKLOG_MAX
from tests.handlers.socket_edge import RawClient, RunningEdge, run_edge
from tests.waiting import Until


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge() as house:
        yield house


def refused_ack(code: str, message: str, *, retryable: bool = False, **more: Any) -> dict[str, Any]:
    error = {"code": code, "message": message, "retryable": retryable, **more}
    return {"ok": False, "error": error}


# Answers.


async def test_an_accepted_command_gets_its_answer(edge: RunningEdge):
    """What the handler gives is the ack's data."""
    async with edge.connect_rider() as raw:
        answer = await raw.send_command("arrived_pickup", {"orderId": "ord_1"}, 77)
        assert answer == {"ok": True, "data": {"orderId": "ord_1", "by": "rdr_1"}}


INTERNAL = refused_ack("internal", "something went wrong on our side")
UNAVAILABLE = refused_ack(
    "unavailable", "a store does not answer; try again in a moment", retryable=True
)


@pytest.mark.parametrize(
    ("order_id", "answer"),
    [
        ("taken", refused_ack("offer_taken", "another rider was faster")),
        ("detailed", refused_ack("conflict", "no", details={"version": 3})),
        ("redis", UNAVAILABLE),
        ("dynamo", UNAVAILABLE),
        ("bug", INTERNAL),
    ],
)
async def test_every_failure_gets_the_envelope(
    edge: RunningEdge, order_id: str, answer: dict[str, Any]
):
    """Refusals keep their code, stores are retryable, bugs say nothing of themselves."""
    async with edge.connect_rider() as raw:
        assert await raw.send_command("arrived_pickup", {"orderId": order_id}) == answer
        assert (await raw.send_command("arrived_pickup", {"orderId": "ord_1"}))["ok"] is True


async def test_what_is_not_there_is_never_told_quickly(
    edge: RunningEdge, monkeypatch: pytest.MonkeyPatch
):
    """To find somebody else's order took longer than to find none, and a guesser could tell."""
    monkeypatch.setattr("handlers.sockets.gate.NOT_FOUND_S_MIN", 0.05)
    loop = asyncio.get_running_loop()
    async with edge.connect_rider() as raw:
        began_s = loop.time()
        answer = await raw.send_command("arrived_pickup", {"orderId": "hidden"})
        assert answer["error"]["code"] == "not_found"
        assert loop.time() - began_s >= 0.05


async def test_a_bug_is_told_to_the_log_with_its_traceback(edge: RunningEdge):
    """The operator sees what the client does not."""
    with capture_logs() as logs:
        async with edge.connect_rider() as raw:
            assert await raw.send_command("arrived_pickup", "bug") == INTERNAL
            assert (
                await raw.send_command("location_update", {"lat": 1, "lng": 2, "seq": 14})
                == INTERNAL
            )
    commands = [entry["command"] for entry in logs if entry["event"] == "command_failed"]
    assert commands == ["arrived_pickup", "location_update"]
    assert all(isinstance(entry["exc_info"], ZeroDivisionError) for entry in logs)


async def test_an_answer_that_cannot_be_encoded_is_a_bug_of_ours(edge: RunningEdge):
    """The client is not left waiting for an ack that never comes."""
    async with edge.connect_rider() as raw:
        assert await raw.send_command("set_availability", {"available": True}) == INTERNAL


async def test_without_an_ack_id_nothing_is_answered(edge: RunningEdge):
    """A command may be sent without wanting to know; the next answer is the next one's."""
    async with edge.connect_rider() as raw:
        await raw.send('42/rider,["arrived_pickup",{"orderId":"bug"}]')
        await raw.send('42/rider,["arrived_pickup",{"nonsense":1}]')
        await raw.send('42/rider,["no_such_command"]')
        assert (await raw.send_command("arrived_pickup", "ord_1"))["data"]["orderId"] == "ord_1"
    assert edge.desk.received == ["bug", "ord_1"]


# Payloads.


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('["no_such_command",{}]', "there is no such command in this namespace"),
        ('["connect",{}]', "there is no such command in this namespace"),
        ('["disconnect"]', "there is no such command in this namespace"),
        ('["subscribe_order","ord_1"]', "there is no such command in this namespace"),
        ('["arrived_pickup"]', "`orderId` is required"),
        ('["arrived_pickup",null]', "`orderId` is required"),
        ('["arrived_pickup",{}]', "`orderId` is required"),
        ('["arrived_pickup",{"orderId":7}]', "`orderId` must be a text"),
        ('["arrived_pickup",{"orderId":"a:b"}]', "`orderId` has the wrong form"),
        ('["arrived_pickup","a#b"]', "`orderId` has the wrong form"),
        ('["arrived_pickup",{"orderId":"a","x":1}]', "`x` is not known here"),
        ('["arrived_pickup",7]', "the payload must be an object"),
        ('["arrived_pickup",["ord_1"]]', "the payload must be an object"),
        ('["arrived_pickup",{"orderId":"a"},{}]', "a command has one payload"),
        ('["accept_delivery","ord_1"]', "the payload must be an object"),
        ('["accept_delivery",{"orderId":"a"}]', "`offerId` is required"),
        ('["location_update",{"lat":"1","lng":2}]', "`lat` must be a number"),
        ('["location_update",{"lat":true,"lng":2}]', "`lat` must be a number"),
        ('["location_update",{"lng":2}]', "`lat` is required"),
        ('["location_update",{"lat":1,"lng":2},1]', "a command has one payload"),
        ('["location_update",{"lat":1,"lng":2,"seq":13}]', "13 is refused"),
    ],
)
async def test_a_bad_payload_is_explained(edge: RunningEdge, said: str, message: str):
    """One sentence names the field; nothing of the library's or the payload's words."""
    async with edge.connect_rider() as raw:
        await raw.send(f"42/rider,1{said}")
        assert await raw.next_ack() == refused_ack("malformed", message)


async def test_whole_numbers_are_numbers(edge: RunningEdge):
    """JavaScript writes 4.0 as 4; what a fix has besides is ignored, an orderId above all."""
    async with edge.connect_rider() as raw:
        fix = {"lat": 4, "lng": 9, "orderId": "ord_9"}
        assert await raw.send_command("location_update", fix) == {"ok": True, "data": None}
    assert [(f.lat, f.lng) for f in edge.desk.received] == [(4, 9)]


async def test_an_order_may_be_named_by_its_bare_id(edge: RunningEdge):
    """`subscribe_order "ord_1"` is in the contract beside `{orderId}`."""
    async with edge.connect() as raw:
        await raw.join("/user", token=edge.issue_token("USER", "usr_1"))
        assert "hello" in await raw.next_packet()
        await raw.send('42/user,1["subscribe_order","ord_1"]')
        assert '"orderId":"ord_1"' in await raw.next_packet()
        await raw.send('42/user,2["subscribe_order",{"orderId":"ord_2"}]')
        assert '"orderId":"ord_2"' in await raw.next_packet()


@pytest.mark.parametrize(
    "frame",
    [
        '42/rider,["location_update",{"lat":1,"lng":2}]',
        '42/rider,[ "location_update" , {"lat":1,"lng":2} ]',
        '42/rider,["location\\u005fupdate",{"lat":1,"lng":2}]',
        '42/rider?token=1,["location_update",{"lat":1,"lng":2}]',
        '42/rider,5["location_update",{"lat":1,"lng":2}]',
    ],
)
async def test_every_spelling_of_a_frame_means_the_same(edge: RunningEdge, frame: str):
    """The short way for frequent frames takes only what the long way would understand alike."""
    async with edge.connect_rider() as raw:
        await raw.send(frame)
        await Until().true(lambda: len(edge.desk.received) == 1)
    assert (edge.desk.received[0].lat, edge.desk.received[0].lng) == (1, 2)


# Order.


async def test_plain_commands_keep_their_order():
    """A hundred fixes are heard as they were sent, with limits for that many."""
    async with run_edge(fixes_per_s=100) as house, house.connect_rider() as raw:
        for seq in range(100, 300):
            await raw.send(f'42/rider,["location_update",{{"lat":1,"lng":2,"seq":{seq}}}]')
        await raw.send_command("arrived_pickup", "ord_1")
        assert [fix.seq for fix in house.desk.received[:-1]] == list(range(100, 300))


async def test_awaiting_commands_of_one_socket_run_one_after_another(edge: RunningEdge):
    """The second waits for the first, however long that takes; another socket's does not."""
    edge.desk.commands_allowed.clear()
    async with edge.connect_rider() as raw, edge.connect_rider("rdr_2") as other:
        for number in range(10):
            await raw.send(f'42/rider,{number}["arrived_pickup","ord_{number}"]')
        await other.send('42/rider,1["arrived_pickup","another"]')
        await Until().true(lambda: len(edge.gate._workers) == 2)
        assert edge.desk.received == []
        edge.desk.commands_allowed.set()
        answers = [await raw.next_ack(number) for number in range(10)]
        assert [a["data"]["orderId"] for a in answers] == [f"ord_{n}" for n in range(10)]
        assert (await other.next_ack())["ok"] is True
    await Until().true(lambda: not edge.gate._workers)


async def test_a_plain_command_does_not_wait_for_awaiting_ones(edge: RunningEdge):
    """A slow store does not hold up the fixes of the same phone."""
    edge.desk.commands_allowed.clear()
    async with edge.connect_rider() as raw:
        await raw.send('42/rider,1["arrived_pickup","ord_1"]')
        assert (await raw.send_command("location_update", {"lat": 1, "lng": 2}, 2))["ok"] is True


async def test_a_backlog_has_an_end(edge: RunningEdge):
    """What is above it is refused at once, and may be tried again."""
    edge.desk.commands_allowed.clear()
    async with edge.connect_rider() as raw:
        for number in range(BACKLOG_MAX):
            await raw.send(f'42/rider,{number}["arrived_pickup","ord_{number}"]')
        assert await raw.send_command("arrived_pickup", "late", 99) == refused_ack(
            "rate_limited", "too many commands wait for their answers", retryable=True
        )
        edge.desk.commands_allowed.set()
        answers = [await raw.next_ack(number) for number in range(BACKLOG_MAX)]
        assert [answer["ok"] for answer in answers] == [True] * BACKLOG_MAX


async def test_what_was_taken_is_finished_after_the_client_has_gone(edge: RunningEdge):
    """A tap counts even when the network dies right after it; then the audience hears the end."""
    edge.desk.commands_allowed.clear()
    async with edge.connect_rider() as raw:
        await raw.send('42/rider,1["arrived_pickup","ord_1"]')
        await Until().true(lambda: len(edge.gate._workers) == 1)
    await Until().true(lambda: len(edge.sessions) == 0)
    assert (edge.desk.received, edge.desk.left) == ([], [])
    edge.desk.commands_allowed.set()
    await edge.gate.finish_commands()
    assert edge.desk.received == ["ord_1"]
    assert [session.identity for session in edge.desk.left] == ["rider:rdr_1"]


async def test_a_server_that_stops_does_not_wait_for_ever(edge: RunningEdge):
    """A store that hangs holds up the end of the process for a bounded time."""
    edge.desk.commands_allowed.clear()
    async with edge.connect_rider() as raw:
        await raw.send('42/rider,1["arrived_pickup","ord_1"]')
        await Until().true(lambda: len(edge.gate._workers) == 1)
        await edge.gate.finish_commands(deadline_s=0.05)
        assert edge.desk.received == []


# Limits.


async def test_commands_have_a_rate(edge: RunningEdge):
    """Forty at once and twenty a second; above that a command is refused and may come again."""
    async with edge.connect_rider() as raw:
        answers = [await raw.send_command("arrived_pickup", "ord_1") for _ in range(41)]
        assert [answer["ok"] for answer in answers] == [True] * 40 + [False]
        assert answers[40] == refused_ack("rate_limited", "at most 20 a second", retryable=True)
        edge.clock.advance(51)
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_fixes_have_a_rate_of_their_own(edge: RunningEdge):
    """A phone that reports too often loses fixes, not its commands."""
    async with edge.connect_rider() as raw:
        for _ in range(25):
            await raw.send('42/rider,["location_update",{"lat":1,"lng":2}]')
        answer = await raw.send_command("location_update", {"lat": 1, "lng": 2})
        assert answer == refused_ack("rate_limited", "at most 10 a second", retryable=True)
        assert len(edge.desk.received) == 20
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_malformed_comes_before_rate_limited(edge: RunningEdge):
    """With two faults the earlier code of the contract is reported."""
    async with edge.connect_rider() as raw:
        for _ in range(40):
            await raw.send_command("arrived_pickup", "ord_1")
        assert (await raw.send_command("arrived_pickup", 7))["error"]["code"] == "malformed"


@pytest.mark.parametrize(
    "frame",
    [
        '42/rider,["location_update",{"lat":1,"lng":2}]',
        '42/rider,["arrived_pickup",{"orderId":"ord_1"}]',
        '42/rider,["arrived_pickup",{"orderId":7}]',
        '42/rider,["no_such_command"]',
        "43/rider,9[]",
        "41/user",
        "3",
    ],
)
async def test_a_flood_is_cut(edge: RunningEdge, frame: str):
    """Whatever a client repeats without end, its connection ends, and the others stay."""
    async with edge.connect_rider("rdr_2") as other, edge.connect_rider() as raw:
        for _ in range(VIOLATIONS_MAX + 100):
            await raw.send(frame)
        assert await raw.next_packet() == "closed"
        assert (await other.send_command("arrived_pickup", "ord_1"))["ok"] is True
        assert len(edge.sessions) == 1


async def test_a_bench_may_flood():
    """`RATE_LIMITS=off` takes everything."""
    async with run_edge(rate_limits="off") as house, house.connect_rider() as raw:
        for _ in range(VIOLATIONS_MAX + 100):
            await raw.send('42/rider,["location_update",{"lat":1,"lng":2}]')
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True
        assert len(house.desk.received) == VIOLATIONS_MAX + 101


# Coming and going.


async def join(edge: RunningEdge, raw: RawClient, kind: UserType, **auth: Any) -> None:
    await raw.join(f"/{kind.lower()}", token=edge.issue_token(kind, "x_1"), **auth)


@pytest.mark.parametrize(
    ("resume", "expected"),
    [
        (None, None),
        ({"epoch": "e1", "seq": 7}, ResumePoint("e1", 7)),
        ({"epoch": "e1", "seq": 7, "more": 1}, ResumePoint("e1", 7)),
        ({"epoch": None, "seq": 0}, ResumePoint("", 0)),
        ({"seq": "7"}, ResumePoint("", 0)),
        (7, ResumePoint("", 0)),
    ],
)
async def test_a_client_says_where_it_stopped(edge: RunningEdge, resume: Any, expected: Any):
    """Nonsense counts as a place nobody knows, which gets a resync and no silent gap."""
    async with edge.connect() as raw:
        await join(edge, raw, "USER", resume=resume)
        await Until().true(lambda: len(edge.desk.joined) == 1)
    [(session, resumed)] = edge.desk.joined
    assert (session.identity, resumed) == ("user:x_1", expected)
    assert session.connected_at_ms == edge.clock.now_ms()


async def test_the_audience_hears_of_the_end_once(edge: RunningEdge):
    """However the connection ended."""
    async with edge.connect_rider() as raw:
        await raw.send("41/rider,")
        await raw.send("1")
        assert await raw.next_packet() == "closed"
    await Until().true(lambda: len(edge.desk.left) == 1)
    assert len(edge.sessions) == 0


async def test_a_socket_that_cannot_be_greeted_comes_again(edge: RunningEdge):
    """Half greeted it would miss events; it is cut without a DISCONNECT, and so reconnects."""
    async with edge.connect() as raw:
        await join(edge, raw, "VENDOR")
        assert await raw.next_packet() == "closed"


async def test_a_receipt_reaches_whoever_asked_for_it(edge: RunningEdge):
    """An event with an acknowledgement: the client's ack calls back once."""
    receipts: list[str] = []
    async with edge.connect_rider() as raw:
        [session] = edge.sessions.for_identity("rider:rdr_1")
        for name in ("one", "two"):
            session.sender.send_with_ack(
                "delivery_request", "/rider", b'{"a":1}', lambda name=name: receipts.append(name)
            )
        assert await raw.next_packet() == '42/rider,1["delivery_request",{"a":1}]'
        assert await raw.next_packet() == '42/rider,2["delivery_request",{"a":1}]'
        for ack in ("43/rider,2[]", "43/rider,2[]", '43/rider,9["x"]'):
            await raw.send(ack)
        await raw.send_command("arrived_pickup", "ord_1")
    assert receipts == ["two"]


async def test_a_receipt_that_fails_is_logged_and_harms_nobody(edge: RunningEdge):
    """The client has done its part."""

    def fail() -> None:
        raise ZeroDivisionError

    with capture_logs() as logs:
        async with edge.connect_rider() as raw:
            [session] = edge.sessions.for_identity("rider:rdr_1")
            session.sender.send_with_ack("delivery_request", "/rider", b"{}", fail)
            await raw.next_packet()
            await raw.send("43/rider,1[]")
            assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True
    assert [entry["event"] for entry in logs] == ["receipt_failed"]


async def test_the_sessions_of_an_identity_are_found(edge: RunningEdge):
    """Every device of a rider is told, and nobody else's."""
    async with (
        edge.connect_rider() as one,
        edge.connect_rider() as two,
        edge.connect_rider("rdr_2") as other,
    ):
        for session in edge.sessions.for_identity("rider:rdr_1"):
            session.sender.send_event(b'42/rider,["hello",{}]')
        assert [await one.next_packet(), await two.next_packet()] == ['42/rider,["hello",{}]'] * 2
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await other.next_packet()
        assert [str(s).split()[0] for s in edge.sessions] == ["rider:rdr_1"] * 2 + ["rider:rdr_2"]
        assert edge.sessions.for_identity("rider:nobody") == ()


async def test_json_text_of_any_script_arrives(edge: RunningEdge):
    """Names and reasons are written in the people's own letters."""
    async with edge.connect_rider() as raw:
        [session] = edge.sessions.for_identity("rider:rdr_1")
        said = json.dumps({"reason": "Bépanda, rue 4.50 — ñ 🛵"}, ensure_ascii=False)
        session.sender.send_event(f'42/rider,["order_cancelled",{said}]'.encode())
        assert await raw.next_packet() == f'42/rider,["order_cancelled",{said}]'
