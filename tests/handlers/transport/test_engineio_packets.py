"""Bodies of polling requests: which packets they carry, and which end the session."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from handlers.transport.engineio_packets import EncodedPacket
from handlers.transport.engineio_session import SessionTimeouts
from tests.handlers.socket_edge import RunningEdge, metric_value, run_edge
from tests.waiting import Until


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge() as running:
        yield running


@pytest.mark.parametrize("body", [b"4" * 70_000, b"\xff\xfe", b"40/rider,{}\x1ebAQ=="])
async def test_a_bad_body_ends_the_session(edge: RunningEdge, body: bytes):
    """A body over 64 KiB, one that is not UTF-8, and one with a binary packet get 400."""
    url, _ = await edge.open_polling_session()
    async with edge.http.post(url, data=body) as response:
        assert response.status == 400
    assert edge.server.eio.sockets == {}


async def test_a_bad_packet_ends_the_session(edge: RunningEdge):
    """The POST gets 400, and so does a later poll."""
    url, _ = await edge.open_polling_session()
    async with edge.http.post(url, data="x") as response:
        assert response.status == 400
    async with edge.http.get(url) as response:
        assert response.status == 400
    assert edge.server.eio.sockets == {}


async def test_all_packets_of_a_body_are_handled(edge: RunningEdge):
    """They are handled in order: a CONNECT and a command of the joined namespace."""
    url, _ = await edge.open_polling_session()
    connect = f'40/rider,{{"token":"{edge.issue_token()}"}}'
    command = '42/rider,5["arrived_pickup","ord_1"]'
    async with edge.http.post(url, data=f"{connect}\x1e{command}") as response:
        assert (response.status, await response.text()) == (200, "OK")
    await Until().true(lambda: edge.context.received == ["ord_1"])


async def test_a_slow_body_ends_the_session():
    """A POST whose body does not arrive in time gets 400 and is counted."""
    reason = {"namespace": "none", "reason": "slow_sender"}
    before = metric_value("reeyo_sockets_ended_total", **reason)

    async def slow_body() -> AsyncIterator[bytes]:
        yield b"4"
        await ended.wait()

    ended = asyncio.Event()
    async with run_edge(SessionTimeouts(transfer_timeout_s=0.05)) as running:
        url, _ = await running.open_polling_session()
        post = asyncio.ensure_future(running.http.post(url, data=slow_body()))
        await Until().true(lambda: running.server.eio.sockets == {})
        ended.set()
        assert (await post).status == 400
    assert metric_value("reeyo_sockets_ended_total", **reason) == before + 1


def test_a_packet_is_encoded_for_the_library():
    """`encode` gives the text, whether or not the library asks for base64."""
    assert EncodedPacket("2").encode() == EncodedPacket("2").encode(b64=True) == "2"
