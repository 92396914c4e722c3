"""Requests that are not HTTP are answered and counted, and leave no log line and no garbage."""

import gc
from collections.abc import Iterator

import pytest
from aiohttp.http_exceptions import HttpProcessingError

from tests.handlers.socket_edge import (
    HTTP_SERVER_WS_PATH,
    metric_value,
    run_edge,
    upgrade_request_bytes,
)
from tests.waiting import Until

NOT_HTTP = [
    b"BREW0 / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET / HTTP/1.1\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
]


@pytest.fixture
def gc_disabled() -> Iterator[None]:
    """Reference cycles stay in memory for as long as the test runs."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def live_errors() -> list[object]:
    """Find aiohttp's parse errors that are still in memory."""
    return [each for each in gc.get_objects() if isinstance(each, HttpProcessingError)]


def bad_request_count() -> float:
    return metric_value("reeyo_http_requests_total", route="none", method="any", status="400")


@pytest.mark.parametrize("data", NOT_HTTP)
async def test_non_http_bytes_leave_no_traceback(data: bytes, caplog: pytest.LogCaptureFixture):
    """They are answered, counted, and not logged."""
    before = bad_request_count()
    async with run_edge() as edge:
        reader, writer = await edge.open_tcp(data)
        assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.close()
    assert caplog.records == []
    assert bad_request_count() == before + 1


@pytest.mark.usefixtures("gc_disabled")
@pytest.mark.parametrize("data", NOT_HTTP)
async def test_non_http_bytes_leave_no_garbage(data: bytes):
    """The parse error is freed without a garbage collection.

    Source: measured, reference cycles took 9 % of memory after 100,000 bad requests.
    """
    async with run_edge() as edge:
        reader, writer = await edge.open_tcp(data)
        assert (await reader.readline()).startswith(b"HTTP/1.")
        writer.close()
        await Until().true(lambda: live_errors() == [])


@pytest.mark.usefixtures("gc_disabled")
async def test_frames_after_a_handshake_are_not_read_as_http():
    """A client that disconnects before its upgrade is answered leaves frames that are dropped.

    It holds the private `_message_tail` of aiohttp, which would parse them as its next request.
    """
    before = bad_request_count()
    async with run_edge() as edge:
        frames = b"\x81\x80\x00\x00\x00\x00\r\n\r\n"
        reader, writer = await edge.open_tcp(upgrade_request_bytes(HTTP_SERVER_WS_PATH) + frames)
        writer.write_eof()
        await reader.read()
        writer.close()
        await Until().true(lambda: not edge.http_server.connections)
    assert live_errors() == []
    assert bad_request_count() == before
