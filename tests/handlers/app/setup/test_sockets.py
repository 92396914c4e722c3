"""The socket edge: what its sockets get from the other parts of the node."""

import asyncio
import json
from typing import Any

import pytest

from dispatch.accounts.standing import Standing
from dispatch.accounts.standing_decisions import StandingDecision
from dispatch.events.inbox import InboxMessage
from dispatch.orders.unit_of_work import Caller
from handlers.app.composition import compose
from handlers.app.setup.sockets import open_socket_edge
from handlers.sessions.auth import Tokens
from handlers.sessions.rate_limits import RateLimits
from tests.handlers.app.conftest import OpenInfrastructure
from tests.waiting import Until

pytestmark = pytest.mark.engines


async def test_a_joined_socket_gets_its_inbox(infrastructure: OpenInfrastructure, until: Until):
    """A CONNECT is admitted by the gate, and an event of its identity reaches the connection."""
    built = infrastructure()
    await built.scripts.load()
    services, background = compose(built)
    tokens = Tokens(built.settings)
    async with until.running(background.pubsub.run):
        edge = await open_socket_edge(services, background, RateLimits(built.settings), tokens)
        connection = edge.server.eio.open_session("127.0.0.1", "websocket")
        token = tokens.issue("VENDOR", "ven_1", 60, built.clock.now_ms())
        connection.receive(f"40/vendor,{json.dumps({'token': token})}")
        message = InboxMessage("vendor:ven_1", "e1", "new_order", '{"orderId":"ord_1"}')
        await background.inboxes.append([message], built.clock.now_ms())
        assert await _next_event(connection, "new_order") == {"orderId": "ord_1", "seq": 1}
        connection.end("client_closed")
        await edge.gate.finish_commands()


async def _next_event(connection: Any, name: str) -> dict[str, Any]:
    async with asyncio.timeout(10):
        while True:
            for packet in await connection.send_buffer.poll():
                prefix = f'42/vendor,["{name}",'.encode()
                if packet.startswith(prefix):
                    body = json.loads(packet.removeprefix(prefix)[:-1])
                    return {field: body[field] for field in ("orderId", "seq")}


async def test_the_loops_belong_to_the_sockets(infrastructure: OpenInfrastructure):
    """Their names are the `loop` labels of the crash counter."""
    built = infrastructure()
    services, background = compose(built)
    edge = await open_socket_edge(
        services, background, RateLimits(built.settings), Tokens(built.settings)
    )
    assert set(edge.loops) == {"rate_limits", "event_delivery", "session_expiry", "load_shedder"}


@pytest.mark.parametrize("standing", [Standing.UNDER_REVIEW, Standing.SUSPENDED])
async def test_a_rider_who_may_not_take_part_is_off_duty_here(
    infrastructure: OpenInfrastructure, standing: Standing
):
    """As soon as this node reads the decision; another rider stays on duty."""
    built = infrastructure()
    services, background = compose(built)
    await open_socket_edge(services, background, RateLimits(built.settings), Tokens(built.settings))
    registry = services.rider_registry
    for rider_id in ("rdr_1", "rdr_2"):
        registry.connect(rider_id)
        registry.set_available(rider_id, available=True)
    operator = Caller(audience="ops", id="adm_1")
    decision = StandingDecision("RIDER", "rdr_1", standing, "papers")
    await services.standing_changes.change(operator, decision)
    await background.revocation_cache.refresh()

    states = [registry.get(rider_id) for rider_id in ("rdr_1", "rdr_2")]
    assert [state and state.available for state in states] == [False, True]
