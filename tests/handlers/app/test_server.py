"""A whole server in this process: it serves, and ends in order."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from structlog.testing import capture_logs

from dispatch.clock import SystemClock
from handlers.app.server import run
from handlers.sessions.auth import Tokens
from handlers.transport.listener import listen
from tests.handlers.app.conftest import OpenInfrastructure
from tests.handlers.socket_edge import WS_PATH

pytestmark = pytest.mark.engines


class RunningServer:
    """A server's address, and the event that stops it."""

    def __init__(self, listener: socket.socket, tokens: Tokens) -> None:
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self.tokens = tokens
        self.stopped = asyncio.Event()


@asynccontextmanager
async def running(
    infrastructure: OpenInfrastructure, **environ: str
) -> AsyncIterator[RunningServer]:
    """Run a server inside the block; after it the server has ended."""
    built = infrastructure(DRAIN_SPREAD_S="0.05", **environ)
    await built.scripts.load()
    listener = listen(built.settings)
    server, ready = RunningServer(listener, Tokens(built.settings)), asyncio.Event()
    task = asyncio.ensure_future(run(built, listener, server.stopped, ready.set))
    try:
        async with asyncio.timeout(20):
            await ready.wait()
            yield server
            server.stopped.set()
            await task
    finally:
        task.cancel()


async def test_sockets_and_http_are_served_until_the_stop(infrastructure: OpenInfrastructure):
    """A connected rider gets `server_draining` and is closed; the parts end in order."""
    with capture_logs() as logs:
        async with running(infrastructure) as server, aiohttp.ClientSession() as http:
            async with http.get(f"{server.url}/readyz") as response:
                assert response.status == 200
            ws = await http.ws_connect(server.url + WS_PATH)
            await ws.receive()
            token = server.tokens.issue("RIDER", "rdr_1", 60, SystemClock().now_ms())
            await ws.send_str(f'40/rider,{{"token":"{token}"}}')
            assert (await ws.receive()).data.startswith("40/rider,")
            server.stopped.set()
            received = [message.data async for message in ws]
            assert any('"server_draining"' in packet for packet in received)
    events = [entry["event"] for entry in logs]
    order = ["listening", "ready", "stopping", "stopped"]
    assert [name for name in events if name in order] == order
    assert not [entry for entry in logs if entry["log_level"] in ("error", "critical")]


@pytest.mark.parametrize(("role", "status"), [("edge", 200), ("engine", 404)])
async def test_only_a_role_with_sockets_serves_endpoints(
    infrastructure: OpenInfrastructure, role: str, status: int
):
    """An engine serves its health probes and nothing else."""
    shared = {"REDIS_URL": "redis://shared", "DYNAMODB_ENDPOINT": "http://shared"}
    async with (
        running(infrastructure, ROLE=role, **shared) as server,
        aiohttp.ClientSession() as http,
    ):
        async with http.get(f"{server.url}/healthz") as response:
            assert response.status == 200
        async with http.get(f"{server.url}/api/v1/config") as response:
            assert response.status == status
