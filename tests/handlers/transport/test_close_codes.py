"""What a client reads in the close frame of each end."""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import WSMsgType

from handlers.transport.close_codes import close_status
from handlers.websocket.rfc6455 import CONTROL_BYTES_MAX, REGISTERED_CLOSE_CODES
from tests.handlers.socket_edge import RunningEdge, run_edge

REASONS = (
    "client_closed", "transport_closed", "binary", "malformed", "not_connected", "oversized",
    "server_draining", "socket_hook_failed", "token_expired", "token_revoked", "too_many_sockets",
    "a_reason_that_is_not_listed",
)  # fmt: skip
# What a rider's socket sends, and how it is closed.
SENT: dict[str, tuple[str | bytes, int, str]] = {
    "a binary frame": (b"\x00\x01", 1003, "binary"),
    "a long binary frame": (b"\x00" * 15_000, 1003, "binary"),
    "a binary event": ('451-/rider,["x",{"_placeholder":true,"num":0}]', 1003, "binary"),
    "a binary answer": ('461-/rider,1[{"_placeholder":true,"num":0}]', 1003, "binary"),
    "binary in base64": ("bAQIDBA==", 1003, "binary"),
    "no packet": ("x", 1002, "packet"),
    "no JSON": ("42/rider,[", 1002, "packet"),
    "a namespace of others": ('42/user,["x"]', 1002, "namespace"),
    "a long frame": ("4" * 70_000, 1009, "long"),
    "an Engine.IO close": ("1", 1000, ""),
}


@pytest_asyncio.fixture(loop_scope="session")
async def edge() -> AsyncIterator[RunningEdge]:
    async with run_edge() as running:
        yield running


@pytest.mark.parametrize("reason", REASONS)
def test_every_end_has_a_code_that_may_be_sent(reason: str):
    """A registered code, and a text that fits a control frame. Source: RFC 6455 section 5.5."""
    status = close_status(reason)
    assert status.code in REGISTERED_CLOSE_CODES
    assert len(status.text.encode()) <= CONTROL_BYTES_MAX - 2
    assert status.text or status.code == 1000


@pytest.mark.parametrize("name", SENT)
async def test_a_fault_of_the_protocol_is_named_in_the_close_frame(edge: RunningEdge, name: str):
    """A code and a few words, with which an app's developer finds the fault."""
    sent, code, word = SENT[name]
    async with edge.connect_rider() as raw:
        is_binary = isinstance(sent, bytes)
        payload = sent if isinstance(sent, bytes) else sent.encode()
        await raw.ws.send_frame(payload, WSMsgType.BINARY if is_binary else WSMsgType.TEXT)
        closed = await raw.ws.receive()
        assert (closed.type, closed.data) == (WSMsgType.CLOSE, code)
        assert word in (closed.extra or "")


async def test_the_ends_of_a_session_are_named(edge: RunningEdge):
    """A token that has expired and a server that stops are told apart."""
    async with edge.connect_rider() as raw:
        edge.sessions.for_identity("rider:rdr_1")[0].end("token_expired")
        closed = await raw.ws.receive()
        assert (closed.data, closed.extra) == (1008, "token expired")
    async with edge.connect_rider() as raw:
        edge.sessions.for_identity("rider:rdr_1")[0].end("server_draining")
        closed = await raw.ws.receive()
        assert (closed.data, closed.extra) == (1001, "the server is stopping")


@pytest.mark.parametrize(
    ("body", "word"), [("bAQIDBA==", "binary"), ("x", "packet"), ("4" * 70_000, "long")]
)
async def test_a_polling_client_is_told_as_well(edge: RunningEdge, body: str, word: str):
    """400 with the same words."""
    url, _ = await edge.open_polling_session()
    async with edge.http.post(url, data=body) as answer:
        assert answer.status == 400
        assert word in json.loads(await answer.text())
