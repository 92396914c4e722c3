"""Sockets are closed with their token, and the oldest of too many of one identity."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest_asyncio

from handlers.sessions.session_registry import SOCKETS_PER_IDENTITY_MAX
from tests.handlers.socket_edge import RunningEdge, run_edge
from tests.waiting import Until


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge() as running:
        yield running


async def test_the_oldest_of_too_many_sockets_gets_disconnect(edge: RunningEdge):
    """It gets DISCONNECT, so that it does not reconnect and close another one in turn."""
    async with AsyncExitStack() as stack:
        oldest, *others = [
            await stack.enter_async_context(edge.connect_rider())
            for _ in range(SOCKETS_PER_IDENTITY_MAX + 1)
        ]
        assert await oldest.next_packet() == "41/rider,"
        assert await oldest.next_packet() == "closed"
        assert len(edge.sessions.for_identity("rider:rdr_1")) == SOCKETS_PER_IDENTITY_MAX
        answers = [await other.send_command("arrived_pickup", "ord_1") for other in others]
        assert [answer["ok"] for answer in answers] == [True] * SOCKETS_PER_IDENTITY_MAX


async def test_a_socket_ends_with_its_token(edge: RunningEdge):
    """No DISCONNECT is sent, so that the client may reconnect with a new token; others stay."""
    async with edge.connect_rider("rdr_2") as other, edge.connect() as raw:
        await raw.join("/rider", token=edge.issue_token(ttl_s=60))
        edge.clock.advance(59_999)
        assert edge.sessions.end_expired() == 0
        edge.clock.advance(1)
        assert edge.sessions.end_expired() == 1
        assert await raw.next_packet() == "closed"
        assert (await other.send_command("arrived_pickup", "ord_1"))["ok"] is True


async def test_the_expiry_loop_ends_sockets(edge: RunningEdge):
    """The background loop closes sockets whose token has expired."""
    async with edge.connect_rider() as raw, Until().running(edge.sessions.watch_expiry):
        edge.clock.advance(3_600_000)
        assert await raw.next_packet() == "closed"
