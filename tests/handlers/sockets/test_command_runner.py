"""How a decoded command is limited, run and answered."""

import asyncio
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from dispatch import metrics
from tests.handlers.socket_edge import RunningEdge, run_edge
from tests.handlers.sockets.conftest import refused_ack
from tests.metric_values import metric_value
from tests.waiting import Until


async def test_an_accepted_command_gets_its_answer(edge: RunningEdge):
    """The handler's return value is the acknowledgement's data."""
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
    """Refusals keep their code, stores are retryable, bugs do not show their cause."""
    async with edge.connect_rider() as raw:
        assert await raw.send_command("arrived_pickup", {"orderId": order_id}) == answer
        assert (await raw.send_command("arrived_pickup", {"orderId": "ord_1"}))["ok"] is True


async def test_not_found_is_never_answered_quickly():
    """Finding another customer's order takes longer than finding none; both take the minimum."""
    loop = asyncio.get_running_loop()
    async with run_edge(not_found_s_min=0.05) as edge, edge.connect_rider() as raw:
        began_s = loop.time()
        answer = await raw.send_command("arrived_pickup", {"orderId": "hidden"})
        assert answer["error"]["code"] == "not_found"
        assert loop.time() - began_s >= 0.05


async def test_a_bug_is_logged_with_its_traceback(edge: RunningEdge):
    """The operator sees the error that the client does not, of both kinds of handlers."""
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
    assert {entry["identity"] for entry in logs} == {"rider:rdr_1"}


async def test_an_answer_that_cannot_be_encoded_is_an_internal_error(edge: RunningEdge):
    """The client is not left waiting for an acknowledgement that never comes."""
    async with edge.connect_rider() as raw:
        assert await raw.send_command("set_availability", {"available": True}) == INTERNAL


async def test_without_an_ack_id_nothing_is_answered(edge: RunningEdge):
    """After three commands without an ack id, the next answer is that of the fourth command."""
    async with edge.connect_rider() as raw:
        await raw.send('42/rider,["arrived_pickup",{"orderId":"bug"}]')
        await raw.send('42/rider,["arrived_pickup",{"nonsense":1}]')
        await raw.send('42/rider,["no_such_command"]')
        assert (await raw.send_command("arrived_pickup", "ord_1"))["data"]["orderId"] == "ord_1"
    assert edge.context.received == ["bug", "ord_1"]


async def test_commands_have_a_rate_limit(edge: RunningEdge):
    """Forty at once and twenty a second; above that a command is refused and may be retried."""
    async with edge.connect_rider() as raw:
        answers = [await raw.send_command("arrived_pickup", "ord_1") for _ in range(41)]
        assert [answer["ok"] for answer in answers] == [True] * 40 + [False]
        assert answers[40] == refused_ack("rate_limited", "at most 20 a second", retryable=True)
        edge.clock.advance(51)
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_fixes_have_a_rate_limit_of_their_own(edge: RunningEdge):
    """A phone that reports too often loses fixes, not its commands."""
    async with edge.connect_rider() as raw:
        for _ in range(25):
            await raw.send('42/rider,["location_update",{"lat":1,"lng":2}]')
        answer = await raw.send_command("location_update", {"lat": 1, "lng": 2})
        assert answer == refused_ack("rate_limited", "at most 10 a second", retryable=True)
        assert len(edge.context.received) == 20
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_of_a_burst_the_newest_fix_is_kept(until: Until):
    """Those before it are refused; it is handled when there is a token."""
    async with run_edge(fixes_per_s=10) as edge, edge.connect_rider() as raw:
        refused = metrics.COMMANDS.labels("location_update", "rate_limited")
        before = metric_value(refused)
        for seq in range(100, 150):
            await raw.send(f'42/rider,["location_update",{{"lat":1,"lng":2,"seq":{seq}}}]')
        await until.true(lambda: len(edge.context.received) == 21)

        assert [each.seq for each in edge.context.received] == [*range(100, 120), 149]
        assert metric_value(refused) - before == 29


@pytest.mark.parametrize(
    ("age_ms", "granted", "handled"),
    [(540_000, 900, 60), (540_000, 10, 31), (1_000, 900, 21), (None, 900, 21)],
)
async def test_kept_fixes_take_from_what_was_granted(
    until: Until, age_ms: int | None, granted: int, handled: int
):
    """Fixes that were made while the phone was away, by their own time, may all come at once."""
    async with run_edge(fixes_per_s=10) as edge, edge.connect_rider() as raw:
        [session] = edge.sessions.for_identity("rider:rdr_1")
        session.fix_bucket.grant(granted, edge.clock.monotonic_s())
        time = {} if age_ms is None else {"ts": edge.clock.now_ms() - age_ms}
        for seq in range(60):
            fix = json.dumps({"lat": 1, "lng": 2, "seq": seq + 100, **time})
            await raw.send(f'42/rider,["location_update",{fix}]')
        await until.true(lambda: len(edge.context.received) == handled)

        assert edge.context.received[-1].seq == 159


async def test_malformed_comes_before_rate_limited(edge: RunningEdge):
    """A command with both faults is answered `malformed`, the earlier code of the contract."""
    async with edge.connect_rider() as raw:
        for _ in range(40):
            await raw.send_command("arrived_pickup", "ord_1")
        assert (await raw.send_command("arrived_pickup", 7))["error"]["code"] == "malformed"
