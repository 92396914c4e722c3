"""Pacing: answers to an address that sends much without a token are delayed, not refused."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiohttp import web

from handlers.http.framework.envelope import EVERYONE, PUBLIC, Route
from handlers.sessions.pacing import ANONYMOUS_RATE, DELAY_S
from tests.handlers.socket_edge import POLL_PATH, RunningEdge, run_edge

BURST = int(ANONYMOUS_RATE.burst)


async def answer(_request: web.Request) -> object:
    return None


ROUTES = [
    Route("GET", "/free", PUBLIC, answer, is_limited=False),
    Route("GET", "/own", EVERYONE, answer, is_limited=False),
]


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge(routes=ROUTES) as running:
        yield running


async def ask(edge: RunningEdge, path: str, **headers: str) -> int:
    async with edge.http.get(edge.url + path, headers=headers) as response:
        await response.read()
        return response.status


async def duration_s(work: Callable[[], Awaitable[object]]) -> float:
    """How long the work takes. Units: seconds."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await work()
    return loop.time() - began_s


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/free", 200),
        ("/nowhere", 404),
        ("/own", 401),
        ("/socket.io/?EIO=4&transport=polling&sid=x", 400),
        ("/socket.io/?EIO=3", 400),
    ],
)
async def test_many_anonymous_answers_are_delayed(edge: RunningEdge, path: str, status: int):
    """After 200 answers each further one comes a quarter of a second late, with the same status."""
    for _ in range(BURST):
        await ask(edge, "/free")

    async def ask_again() -> None:
        assert await ask(edge, path) == status

    assert await duration_s(ask_again) >= DELAY_S
    edge.clock.advance(1_000)
    assert await duration_s(ask_again) < DELAY_S


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"not HTTP\r\n\r\n", b"400"),
        (b"GET /\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\n\r\n", b"415"),
        (b"GET /free HTTP/1.1\r\nHost: x\r\n\r\n" * 1_000, b"400"),
        (b"GET / HTTP/1.1\r\n" + (b"A: " + b"a" * 1_000 + b"\r\n") * 40, b"431"),
    ],
    ids=["not HTTP", "HTTP/0.9", "encoded", "pipelined", "endless"],
)
async def test_answers_to_malformed_input_are_delayed(
    edge: RunningEdge, sent: bytes, status: bytes
):
    """Also where no request could be parsed."""
    for _ in range(BURST):
        await ask(edge, "/free")

    async def send() -> None:
        reader, writer = await edge.open_tcp(sent)
        assert (await reader.readline()).split()[1] == status
        writer.transport.abort()

    assert await duration_s(send) >= DELAY_S
    edge.clock.advance(1_000)
    assert await duration_s(send) < DELAY_S


async def test_clients_with_a_token_and_sockets_are_not_delayed(edge: RunningEdge):
    """They have limits of their own, however many anonymous requests share their address."""
    for _ in range(BURST):
        await ask(edge, "/free")
    headers = {"Authorization": f"Bearer {edge.issue_token()}"}

    async def ask_with_token() -> None:
        assert await ask(edge, "/own", **headers) == 200

    async def open_sockets() -> None:
        assert await ask(edge, POLL_PATH) == 200
        async with edge.connect_rider():
            pass

    assert await duration_s(ask_with_token) < DELAY_S
    assert await duration_s(open_sockets) < DELAY_S


async def test_a_probe_is_answered_in_time(edge: RunningEdge):
    """While forty connections ask without a pause, a probe is answered within a second."""

    async def flood() -> None:
        while True:
            await ask(edge, "/nowhere")

    for _ in range(BURST):
        await ask(edge, "/free")
    tasks = [asyncio.ensure_future(flood()) for _ in range(40)]

    async def probe() -> None:
        assert await ask(edge, "/free") == 200

    assert await duration_s(probe) < 1.0
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
