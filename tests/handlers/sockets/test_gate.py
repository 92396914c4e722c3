"""Commands through the gate: how they are decoded and ordered, and how sockets come and go."""

import asyncio
import json

import pytest
from structlog.testing import capture_logs

from handlers.sessions.rate_limits import VIOLATIONS_MAX
from handlers.sessions.session_registry import ResumePoint
from handlers.sockets.job_queue import JOBS_MAX
from tests.handlers.socket_edge import RunningEdge, run_edge
from tests.handlers.sockets.conftest import refused_ack
from tests.waiting import Until

# Payloads.


@pytest.mark.parametrize(
    ("event", "message"),
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
async def test_a_bad_payload_is_explained(edge: RunningEdge, event: str, message: str):
    """One sentence names the field and the rule, in words of our own."""
    async with edge.connect_rider() as raw:
        await raw.send(f"42/rider,1{event}")
        assert await raw.next_ack() == refused_ack("malformed", message)


async def test_whole_numbers_are_numbers(edge: RunningEdge):
    """JavaScript writes 4.0 as 4, Dart writes 7 as 7.0; both mean the same, acknowledged or not."""
    async with edge.connect_rider() as raw:
        fix = {"lat": 4, "lng": 9, "seq": 7.0}
        assert await raw.send_command("location_update", fix) == {"ok": True, "data": None}
        await raw.send(f'42/rider,["location_update",{json.dumps(fix)}]')
        await Until().true(lambda: len(edge.context.received) == 2)
    assert [(f.lat, f.lng, f.seq) for f in edge.context.received] == [(4, 9, 7)] * 2


def phone_fix(seq: int) -> dict[str, object]:
    """A fix as a phone's library stores it, with the digits of 32-bit floats."""
    return {
        "lat": 4.051100254058838,
        "lng": 9.708499908447266,
        "accuracy": 12.300000190734863,
        "speed": 8.300000190734863,
        "heading": 271.3999938964844,
        "ts": 1_796_058_000_000 + seq,
        "seq": seq,
        "altitude": 13.100000381469727,
    }


async def test_a_batch_of_a_phone_fits_and_a_larger_one_is_told_the_limit(edge: RunningEdge):
    """A hundred fixes have 16 KiB and more; of 150 the client learns how many it may send."""
    async with edge.connect_rider() as raw:
        taken = await raw.send_command("location_batch", {"fixes": [*map(phone_fix, range(100))]})
        refused = await raw.send_command(
            "location_batch", {"fixes": [*map(phone_fix, range(150))]}, 2
        )
        assert (await raw.send_command("arrived_pickup", "ord_1", 3))["ok"] is True
    assert taken == {"ok": True, "data": {"fixes": 100}}
    assert refused["error"]["code"] == "malformed"
    assert refused["error"]["details"] == {"field": "fixes", "limit": 100, "got": 150}


NEWER = {"orderId": "ord_1", "order_id": "ord_2", "app": {"version": 9}}


async def test_unknown_fields_are_ignored(edge: RunningEdge):
    """An app that is newer than the server is served; production says nothing of it."""
    async with edge.connect_rider() as raw:
        answer = await raw.send_command("arrived_pickup", NEWER)
    assert answer == {"ok": True, "data": {"orderId": "ord_1", "by": "rdr_1"}}


async def test_under_dev_ignored_fields_are_named():
    """The acknowledgement warns the developer; plain and awaiting commands alike."""
    async with run_edge(dev=True) as edge, edge.connect_rider() as raw:
        fix = await raw.send_command("location_update", {"lat": 4, "lng": 9, "orderId": "ord_9"})
        arrived = await raw.send_command("arrived_pickup", NEWER, 2)
        known = await raw.send_command("arrived_pickup", {"orderId": "ord_1"}, 3)
    assert fix["warnings"] == ["unknown field `orderId` is ignored"]
    assert arrived["warnings"] == [
        "unknown field `order_id` is ignored",
        "unknown field `app` is ignored",
    ]
    assert "warnings" not in known


async def test_an_order_may_be_named_by_its_bare_id(edge: RunningEdge):
    """The payload `"ord_1"` means the same as `{"orderId": "ord_1"}`."""
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
    """The fast path takes only frames that the packet parser would read alike."""
    async with edge.connect_rider() as raw:
        await raw.send(frame)
        await Until().true(lambda: len(edge.context.received) == 1)
    assert (edge.context.received[0].lat, edge.context.received[0].lng) == (1, 2)


# Order.


async def test_plain_commands_keep_their_order():
    """Two hundred fixes are handled in the order in which they were sent."""
    async with run_edge(fixes_per_s=100) as edge, edge.connect_rider() as raw:
        for seq in range(100, 300):
            await raw.send(f'42/rider,["location_update",{{"lat":1,"lng":2,"seq":{seq}}}]')
        await raw.send_command("arrived_pickup", "ord_1")
        assert [fix.seq for fix in edge.context.received[:-1]] == list(range(100, 300))


async def test_awaiting_commands_of_one_socket_run_one_after_another(edge: RunningEdge):
    """The second waits for the first, however long that takes; another socket's does not wait."""
    edge.context.commands_allowed.clear()
    async with edge.connect_rider() as raw, edge.connect_rider("rdr_2") as other:
        for number in range(10):
            await raw.send(f'42/rider,{number}["arrived_pickup","ord_{number}"]')
        await other.send('42/rider,1["arrived_pickup","another"]')
        await Until().true(lambda: len(edge.gate.jobs) == 2)
        assert edge.context.received == []
        edge.context.commands_allowed.set()
        answers = [await raw.next_ack(number) for number in range(10)]
        assert [a["data"]["orderId"] for a in answers] == [f"ord_{n}" for n in range(10)]
        assert (await other.next_ack())["ok"] is True
    await Until().true(lambda: not len(edge.gate.jobs))


async def test_a_plain_command_does_not_wait_for_awaiting_ones(edge: RunningEdge):
    """A slow store does not hold up the fixes of the same socket."""
    edge.context.commands_allowed.clear()
    async with edge.connect_rider() as raw:
        await raw.send('42/rider,1["arrived_pickup","ord_1"]')
        assert (await raw.send_command("location_update", {"lat": 1, "lng": 2}, 2))["ok"] is True


async def test_waiting_commands_of_a_socket_are_bounded(edge: RunningEdge):
    """The command above the bound is refused at once and retryable; those below it are answered."""
    edge.context.commands_allowed.clear()
    async with edge.connect_rider() as raw:
        for number in range(JOBS_MAX):
            await raw.send(f'42/rider,{number}["arrived_pickup","ord_{number}"]')
        assert await raw.send_command("arrived_pickup", "late", 99) == refused_ack(
            "rate_limited", "too many commands wait for their answers", retryable=True
        )
        edge.context.commands_allowed.set()
        answers = [await raw.next_ack(number) for number in range(JOBS_MAX)]
        assert [answer["ok"] for answer in answers] == [True] * JOBS_MAX


async def test_a_running_command_is_finished_after_the_client_has_gone(edge: RunningEdge):
    """A command counts though its network dies right after it; `on_disconnect` runs after it."""
    edge.context.commands_allowed.clear()
    async with edge.connect_rider() as raw:
        await raw.send('42/rider,1["arrived_pickup","ord_1"]')
        await Until().true(lambda: len(edge.gate.jobs) == 1)
    await Until().true(lambda: len(edge.sessions) == 0)
    assert (edge.context.received, edge.context.left) == ([], [])
    edge.context.commands_allowed.set()
    await edge.gate.finish_commands()
    assert edge.context.received == ["ord_1"]
    assert [session.identity for session in edge.context.left] == ["rider:rdr_1"]


# Floods.


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
    """A client that repeats any frame without end is cut, and other clients stay connected."""
    async with edge.connect_rider("rdr_2") as other, edge.connect_rider() as raw:
        for _ in range(VIOLATIONS_MAX + 100):
            await raw.send(frame)
        assert await raw.next_packet() == "closed"
        assert (await other.send_command("arrived_pickup", "ord_1"))["ok"] is True
        assert len(edge.sessions) == 1


async def test_without_rate_limits_a_flood_is_handled():
    """`RATE_LIMITS=off` handles every fix of a flood."""
    async with run_edge(rate_limits="off") as edge, edge.connect_rider() as raw:
        for _ in range(VIOLATIONS_MAX + 100):
            await raw.send('42/rider,["location_update",{"lat":1,"lng":2}]')
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True
        assert len(edge.context.received) == VIOLATIONS_MAX + 101


# Connections.


async def test_on_connect_gets_the_session_and_its_resume_point(edge: RunningEdge):
    """It runs after CONNECT was answered, once for the socket."""
    async with edge.connect() as raw:
        token = edge.issue_token("USER", "usr_1")
        await raw.join("/user", token=token, resume={"epoch": "e1", "seq": 7})
        assert await raw.next_packet() == '42/user,["hello",{"you":"usr_1"}]'
    [(session, resume)] = edge.context.joined
    assert (session.identity, resume) == ("user:usr_1", ResumePoint("e1", 7))
    assert session.connected_at_ms == edge.clock.now_ms()


async def test_on_disconnect_runs_once(edge: RunningEdge):
    """A DISCONNECT followed by the connection's close calls it once."""
    async with edge.connect_rider() as raw:
        await raw.send("41/rider,")
        await raw.send("1")
        assert await raw.next_packet() == "closed"
    await Until().true(lambda: len(edge.context.left) == 1)
    assert len(edge.sessions) == 0


async def test_a_socket_whose_on_connect_fails_is_cut(edge: RunningEdge):
    """It is closed without a DISCONNECT, after which the official client reconnects."""
    with capture_logs() as logs:
        async with edge.connect() as raw:
            await raw.join("/vendor", token=edge.issue_token("VENDOR", "ven_1"))
            assert await raw.next_packet() == "closed"
    failed = [entry["identity"] for entry in logs if entry["event"] == "socket_hook_failed"]
    assert failed == ["vendor:ven_1"]


async def test_a_client_ack_calls_back_once(edge: RunningEdge):
    """Of two events with an acknowledgement only the acknowledged one's callback runs, once."""
    acknowledged: list[str] = []
    async with edge.connect_rider() as raw:
        [session] = edge.sessions.for_identity("rider:rdr_1")
        for name in ("one", "two"):
            session.sender.send_with_ack(
                "delivery_request",
                "/rider",
                b'{"a":1}',
                lambda name=name: acknowledged.append(name),
            )
        assert await raw.next_packet() == '42/rider,1["delivery_request",{"a":1}]'
        assert await raw.next_packet() == '42/rider,2["delivery_request",{"a":1}]'
        for ack in ("43/rider,2[]", "43/rider,2[]", '43/rider,9["x"]'):
            await raw.send(ack)
        await raw.send_command("arrived_pickup", "ord_1")
    assert acknowledged == ["two"]


async def test_an_ack_callback_that_fails_is_logged(edge: RunningEdge):
    """The socket goes on: its next command is answered."""

    def fail() -> None:
        raise ZeroDivisionError

    with capture_logs() as logs:
        async with edge.connect_rider() as raw:
            [session] = edge.sessions.for_identity("rider:rdr_1")
            session.sender.send_with_ack("delivery_request", "/rider", b"{}", fail)
            await raw.next_packet()
            await raw.send("43/rider,1[]")
            assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True
    assert [entry["event"] for entry in logs] == ["ack_callback_failed"]


async def test_the_sessions_of_an_identity_are_found(edge: RunningEdge):
    """An event for an identity goes to each of its sockets, and to no other socket."""
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
        assert edge.sessions.for_identity("rider:rdr_none") == ()


async def test_json_text_of_any_script_arrives(edge: RunningEdge):
    """Text outside ASCII reaches the client as it was sent."""
    async with edge.connect_rider() as raw:
        [session] = edge.sessions.for_identity("rider:rdr_1")
        body = json.dumps({"reason": "Bépanda, rue 4.50 — ñ 🛵"}, ensure_ascii=False)
        session.sender.send_event(f'42/rider,["order_cancelled",{body}]'.encode())
        assert await raw.next_packet() == f'42/rider,["order_cancelled",{body}]'


FIX = '["location_update",{"lat":4.05,"lng":9.7}]'


@pytest.mark.parametrize(
    ("frame", "count"),
    [
        ('42/rider,["arrived_pickup",{"orderId":"ord_1"}]', 2),
        ('42/rider,["no_such_command",{}]', 2),
        ('42/rider,["arrived_pickup",{"orderId":7}]', 2),
        ('42/rider,["location_update",{"lat":"north"}]', 2),
        (f"42/rider,{FIX}", 1),
        ('43/rider,99[{"ok":true}]', 2),
    ],
)
async def test_every_packet_but_a_handled_fix_is_activity(
    edge: RunningEdge, frame: str, count: int
):
    """Commands, good or not, and acknowledgements are noted; a fix is, by its handler."""
    async with edge.connect_rider() as raw:
        [session] = edge.sessions.for_identity("rider:rdr_1")
        noted: list[str] = []
        session.on_activity = lambda: noted.append(frame)
        await raw.send(frame)
        await raw.send_command("arrived_pickup", {"orderId": "ord_2"}, 5)

        assert len(noted) == count


async def test_a_fix_over_the_limit_is_activity():
    """The rider is there, although its fix is not handled."""
    async with run_edge(fixes_per_s=1) as edge, edge.connect_rider() as raw:
        [session] = edge.sessions.for_identity("rider:rdr_1")
        noted: list[int] = []
        session.on_activity = lambda: noted.append(1)
        for _ in range(4):
            await raw.send(f"42/rider,{FIX}")
        await raw.send_command("arrived_pickup", {"orderId": "ord_2"}, 5)

        assert len(noted) == 3
