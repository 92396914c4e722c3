"""Bodies that nobody reads: a short one is skipped, a long one ends the connection."""

import asyncio

import pytest
from aiohttp import web

from handlers.http.framework.envelope import PUBLIC, Route
from handlers.transport.unread_body import READ_BYTES_MAX
from tests.handlers.socket_edge import run_edge

HEAD = b"POST /unread HTTP/1.1\r\nHost: x\r\n"
NEXT = b"GET /unread HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer(_request: web.Request) -> object:
    return None


ROUTES = [Route("POST", "/unread", PUBLIC, answer), Route("GET", "/unread", PUBLIC, answer)]


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """The head of an answer; its body is read as well."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    await reader.readexactly(length)
    return head


@pytest.mark.parametrize("length", [1, 1_000, READ_BYTES_MAX])
async def test_a_short_rest_is_skipped(length: int):
    """The answer does not wait for the body, and the connection takes the next request."""
    async with run_edge(routes=ROUTES) as edge, asyncio.timeout(5):
        reader, writer = await edge.open_tcp(HEAD + b"Content-Length: %d\r\n\r\n" % length)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200 ")
        writer.write(b"a" * length + NEXT)
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200 ")
        writer.close()


@pytest.mark.parametrize(
    "headers", [b"Content-Length: %d" % (READ_BYTES_MAX + 1), b"Transfer-Encoding: chunked"]
)
async def test_a_long_rest_ends_the_connection(headers: bytes):
    """The answer says so, reaches a client that is still sending, and no more is read."""
    async with run_edge(routes=ROUTES) as edge, asyncio.timeout(5):
        reader, writer = await edge.open_tcp(HEAD + headers + b"\r\n\r\n")
        writer.write(b"10000\r\n" + b"a" * 60_000)
        head = await read_answer(reader)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in head
        assert await reader.read() == b""
        writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for():
    """The connection ends, though the promised body was short."""
    async with run_edge(routes=ROUTES) as edge, asyncio.timeout(5):
        reader, writer = await edge.open_tcp(HEAD + b"Content-Length: 10\r\n\r\n")
        assert (await read_answer(reader)).startswith(b"HTTP/1.1 200 ")
        assert await reader.read() == b""
        writer.close()
