"""Bytes that are no HTTP: answered, counted and forgotten, without the collector's help."""

import asyncio
import gc
from collections.abc import Iterator

import pytest
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from dispatch import metrics
from tests.handlers.socket_edge import WS_PATH, run_edge
from tests.waiting import Until

GARBAGE = [
    b"BREW0 / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
]
UPGRADE = (
    f"GET {WS_PATH} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()


@pytest.fixture
def gc_disabled() -> Iterator[None]:
    """Rings stay for as long as the test runs."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def live_errors() -> list[object]:
    """The framework's errors that are still there."""
    return [each for each in gc.get_objects() if isinstance(each, HttpProcessingError)]


def bad_request_count() -> float:
    return metrics.HTTP_REQUESTS.labels("none", "any", "400")._value.get()


async def send(url: str, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    at = URL(url)
    reader, writer = await asyncio.open_connection(at.host, at.port)
    writer.write(data)
    return reader, writer


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_non_http_bytes_leave_no_traceback(garbage: bytes, caplog: pytest.LogCaptureFixture):
    """They are answered, counted, and not logged."""
    before = bad_request_count()
    async with run_edge() as house:
        reader, writer = await send(house.url, garbage)
        assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.close()
    assert caplog.records == []
    assert bad_request_count() == before + 1


@pytest.mark.usefixtures("gc_disabled")
@pytest.mark.parametrize("garbage", GARBAGE)
async def test_non_http_bytes_leave_no_garbage(garbage: bytes):
    """Each error knew the frame that knew it: 9 % of memory after 100,000 bad frames."""
    async with run_edge() as house:
        reader, writer = await send(house.url, garbage)
        assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.close()
        await Until().true(lambda: live_errors() == [])


@pytest.mark.usefixtures("gc_disabled")
async def test_frames_after_a_handshake_are_not_read_as_http():
    """Whoever had gone before he was answered left his frames to be read as HTTP."""
    before = bad_request_count()
    async with run_edge() as house:
        reader, writer = await send(house.url, UPGRADE + b"\x81\x80\x00\x00\x00\x00\r\n\r\n")
        writer.write_eof()
        await reader.read()
        writer.close()
        await Until().true(lambda: not house.http_server.connections)
    assert live_errors() == []
    assert bad_request_count() == before
