"""Engine.IO handshakes: what they answer, which are refused, and how many an address may open."""

from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from handlers.sessions.rate_limits import CONNECTION_RATE
from tests.handlers.socket_edge import (
    POLL_PATH,
    UPGRADE_HEADERS,
    WS_PATH,
    RunningEdge,
    metric_value,
    run_edge,
)

HEADERS_BY_PATH: dict[str, dict[str, str]] = {WS_PATH: UPGRADE_HEADERS, POLL_PATH: {}}


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge() as running:
        yield running


async def test_the_handshake_names_ping_interval_and_max_payload(edge: RunningEdge):
    """The client learns both intervals and the frame bound; a WebSocket has no upgrade left."""
    async with edge.connect() as raw:
        limits = {"pingInterval": 10_000, "pingTimeout": 10_000, "maxPayload": 64 * 1024}
        assert raw.handshake == {"sid": raw.handshake["sid"], "upgrades": [], **limits}


async def test_frames_are_never_compressed(edge: RunningEdge):
    """The extension is declined: a compressor costs 100 KB per socket (SECURITY.md, row 4)."""
    async with edge.http.ws_connect(edge.url + WS_PATH, compress=15) as ws:
        assert ws.compress == 0


async def test_the_true_address_of_a_client_is_known(edge: RunningEdge):
    """Over WebSocket and polling; the library's driver says 127.0.0.1 (SECURITY.md, row 10).

    It holds the private `_async` of engineio's driver and server.
    """
    connector = aiohttp.TCPConnector(local_addr=("127.0.0.7", 0))
    async with (
        aiohttp.ClientSession(connector=connector) as http,
        http.ws_connect(edge.url + WS_PATH),
        http.get(edge.url + POLL_PATH),
    ):
        addresses = [c.address for c in edge.server.eio.sockets.values()]
    assert addresses == ["127.0.0.7", "127.0.0.7"]


@pytest.mark.parametrize(
    "query",
    [
        "EIO=3&transport=websocket",
        "transport=websocket",
        "EIO=abc&transport=websocket",
        "EIO=4&transport=unknown",
        "EIO=4&transport=websocket&sid=unknown",
        "EIO=4&transport=polling&j=0",
    ],
)
async def test_an_invalid_handshake_gets_400(edge: RunningEdge, query: str):
    """Other protocol versions, unknown transports and session ids open no session."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    async with edge.http.get(f"{edge.url}/socket.io/?{query}", headers=headers) as response:
        assert response.status == 400
    assert edge.server.eio.sockets == {}


@pytest.mark.parametrize("path", [WS_PATH, POLL_PATH])
async def test_another_origin_is_refused(edge: RunningEdge, path: str):
    """A page of an origin that is not on the allow-list gets 400 over either transport."""
    headers = {"Origin": "https://evil.example", **UPGRADE_HEADERS}
    async with edge.http.get(edge.url + path, headers=headers) as response:
        assert response.status == 400


async def test_allowed_origins_may_connect():
    """Pages of the allow-list and of the server itself open connections."""
    async with run_edge(allowed_origins=("https://ops.example",)) as running:
        for origin in ("https://ops.example", running.url):
            async with running.connect(Origin=origin) as raw:
                assert "sid" in raw.handshake


async def test_a_refused_handshake_is_counted_and_not_logged(
    edge: RunningEdge, caplog: pytest.LogCaptureFixture
):
    """The library would log the client's own text at error level.

    It holds the private `_log_error_once` of engineio.
    """
    reason = {"namespace": "none", "reason": "handshake_bad-sid"}
    before = metric_value("reeyo_sockets_ended_total", **reason)
    with capture_logs() as logs:
        async with edge.http.get(f"{edge.url}{POLL_PATH}&sid=unknown") as response:
            assert response.status == 400
    assert metric_value("reeyo_sockets_ended_total", **reason) == before + 1
    assert (logs, caplog.records) == ([], [])


@pytest.mark.parametrize("path", [WS_PATH, POLL_PATH])
async def test_connections_per_address_are_limited(edge: RunningEdge, path: str):
    """An address over its limit gets 429 with Retry-After; others and open sessions go on."""
    address, clock = "127.0.0.9", edge.clock
    for _ in range(int(CONNECTION_RATE.burst) - 2):
        edge.server.limits.take_or_wait_s(CONNECTION_RATE, address, clock.monotonic_s())
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as flooding, edge.connect_rider() as raw:
        statuses = []
        for _ in range(4):
            async with flooding.get(edge.url + path, headers=HEADERS_BY_PATH[path]) as response:
                statuses.append((response.status, response.headers.get("Retry-After")))
        assert (await raw.send_command("arrived_pickup", "ord_1"))["ok"] is True
        clock.advance(1_000)
        async with flooding.get(edge.url + path, headers=HEADERS_BY_PATH[path]) as response:
            assert response.status in (101, 200)
    assert [status in (101, 200) for status, _ in statuses] == [True, True, False, False]
    assert statuses[2:] == [(429, "1")] * 2


@pytest.mark.parametrize("path", [WS_PATH, POLL_PATH])
async def test_connections_are_limited_by_network(path: str):
    """Addresses of one IPv6 /64 share a limit; the next /64 has its own."""
    async with run_edge(trusted_proxies=("127.0.0.0/8",)) as edge:
        for _ in range(int(CONNECTION_RATE.burst)):
            edge.server.limits.take_or_wait_s(
                CONNECTION_RATE, "2001:db8:1:2::/64", edge.clock.monotonic_s()
            )
        statuses = []
        for client in ("2001:db8:1:2::7", "2001:db8:1:2:9::", "2001:db8:1:3::7"):
            headers = {**HEADERS_BY_PATH[path], "X-Forwarded-For": client}
            async with edge.http.get(edge.url + path, headers=headers) as response:
                statuses.append(response.status in (101, 200))
    assert statuses == [False, False, True]


async def test_a_stopping_server_refuses_handshakes(edge: RunningEdge):
    """Both transports get 503 with Retry-After."""
    await edge.server.close_all()
    for path in (WS_PATH, POLL_PATH):
        async with edge.http.get(edge.url + path, headers=HEADERS_BY_PATH[path]) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "PATCH"])
async def test_the_sockets_path_takes_three_methods(method: str):
    """Others are refused in the envelope; opening a session has no answer without a body."""
    async with run_edge() as edge:
        async with edge.http.request(method, edge.url + POLL_PATH) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, OPTIONS, POST")
        assert edge.server.eio.sockets == {}
